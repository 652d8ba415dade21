"""`muntin VERB ...`: finds the verb, and turns every ending of a verb into an exit code.

0 done · 2 what was given cannot work · 1 our fault, or a run that had to stop · 130 interrupted.
Errors end in one sentence on stderr; `--debug` shows the traceback as well. Of the processes of torchrun, the first
to fail says it, and again in torchrun's closing table.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import json
import os
import sys
import time
import traceback
from pathlib import Path

from muntin.errors import RunError, UserError, printable, unknown

GRACE = 2  # seconds: process 0 mostly fails with the same sentence, and torchrun then ends the others before they speak

VERBS = {  # each is a file of this folder with run(arguments) -> exit code
    "doctor": "check whether this machine has everything, and say what is missing",
    "models": "list the models, or say what a weights file is: muntin models --inspect FILE",
    "data": "check a data set before training on it: muntin data check DIR",
    "train": "train, fine-tune, distil or pre-train by a recipe; without one, list the recipes",
    "eval": "measure a trained model: top-1, top-5 and every class, or the loss of SimMIM",
    "predict": "ask a trained model about files, folders, globs: it names pictures or fills in hidden parts",
    "convert": "write weights under the names of another project: official, timm, transformers, ...",
    "adapt": "make weights fit another window, picture, number of classes or of channels",
    "demo": "run the whole Swin V2 story on 5,000 bundled digits, with a report to look at",
}

EXAMPLES = (  # they run as they stand, in this order, on data that muntin brings along
    "muntin train digits --epochs 3 --out runs/first",
    "muntin eval runs/first --data digits",
    "muntin predict runs/first digits --top 3",
    'muntin models "swin_v2*"',
)


def help_text() -> str:
    """What `muntin` without a verb prints."""
    verbs = [f"  {verb:<8} {line}" for verb, line in VERBS.items()]
    examples = [f"  {example}" for example in EXAMPLES]
    return "\n".join(
        [
            "muntin: pre-train, train, transfer, evaluate and use vision transformers and their relatives:",
            "Swin, Swin V2, ViT, DeiT, BEiT, ConvNeXt, CvT.",
            "",
            "usage: muntin VERB ...   (muntin VERB --help; --debug adds tracebacks; --version)",
            "",
            *verbs,
            "",
            "examples, to copy and paste; all run on bundled data:",
            *examples,
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command, without the leading `muntin`, and return its exit code. None: what the shell gave."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files and classes may be what the screen cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(arguments)
    except UserError as error:
        return _fail(f"muntin: {error}", 2, debug)
    except RunError as error:
        return _fail(f"muntin: {error}", 1, debug)
    except KeyboardInterrupt as stop:  # the engine says what it saved
        return _end(f"muntin: {str(stop) or 'interrupted'}", 130, debug)
    except BrokenPipeError:  # `muntin models | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a folder for a file, no permission, a full disk: the machine's answer is the sentence
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"muntin: {place}{error.strerror or error}", 2, debug)
    except SystemExit as end:  # argparse and tyro end `--help` this way
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        if _memory_ran_out(error):
            return _fail(f"muntin: not enough memory: {printable(str(error))}; ask for something smaller", 2, debug)
        # not the user's fault, so say where to look instead of nothing
        return _fail(f"muntin: {type(error).__name__}: {error} (a fault of muntin; --debug shows where)", 1, debug)


def _memory_ran_out(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)

    from muntin.engine.out_of_memory import is_out_of_memory

    return is_out_of_memory(error)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    verb, *rest = arguments
    if verb == "--version":
        print(f"muntin {importlib.metadata.version('muntin')}")
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS, see="muntin --help")
    return importlib.import_module(f"muntin.cli.{verb}").run(rest)


def _fail(sentence: str, code: int, debug: bool) -> int:
    """Do `_end`, once for all processes of torchrun, and write the sentence to the file from which torchrun fills its
    table of failures.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(GRACE)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        failure = {"message": sentence, "extraInfo": {"timestamp": str(int(time.time()))}}  # torch's own format
        Path(file).write_text(json.dumps({"message": failure}), encoding="utf-8")
    return _end(sentence, code, debug)


def _end(sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(sentence, file=sys.stderr)
    return code
