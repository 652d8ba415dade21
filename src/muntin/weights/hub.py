"""Models in the form of the Hugging Face Hub: a folder or repository of config.json, model.safetensors and README.md.

The folder is a model folder (`weights.folder`) with a card beside it, so everything that takes a model folder takes it
too. muntin sends and fetches only these three files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

from muntin.catalog import entry
from muntin.data import inputs_from
from muntin.errors import UserError
from muntin.files import write_file
from muntin.weights.folder import Saved, load_model, save_model

CARD = "README.md"
FILES = ("config.json", "model.safetensors", CARD)


class Card(NamedTuple):
    """What a model card says besides what the model itself tells. Empty values are left out of its head."""

    license: str = "apache-2.0"  # of the weights, in the Hub's words; they may have another than the code
    datasets: tuple[str, ...] = ()  # that the model was trained on, such as "imagenet-1k"
    metrics: Mapping[str, float] = MappingProxyType({})  # such as {"top-1 %": 81.2}; numbers of the evaluation
    protocol: str = ""  # how these numbers were measured
    base_model: str = ""  # Hub id or name of what training started from
    training: str = ""  # recipe, hardware, duration
    limits: str = ""  # what the model is not for


def save_pretrained(model: Saved, folder: str | Path, *, card: Card | None = None) -> Path:
    """Write a Hub folder: config.json, model.safetensors and README.md; other files in it are kept.

    model: with its catalog name, class names and inputs, as `load_model` and `from_pretrained` give it; for a module of
    your own Saved(module, "swin_tiny", ("cat", "dog"), PictureInput().to_dict()). A `SimMIM` has no classes. Raises
    UserError if these do not belong together.
    """
    folder = Path(folder)
    inputs_from(model.inputs)
    try:
        kind, task = model.model.kind, model.answering()
    except AttributeError:
        given = type(model.model).__name__
        raise UserError(f"a {given} cannot be saved; give a Classifier (create_model) or a SimMIM") from None
    save_model(folder, model.name, model.model, kind=kind, classes=model.classes, inputs=model.inputs, task=task)
    text = model_card(model, card or Card())
    write_file(folder / CARD, lambda new: new.write_text(text, encoding="utf-8"))
    return folder


def from_pretrained(place: str | Path, *, revision: str | None = None) -> Saved:
    """Load the model of a Hub folder, model folder or run folder, or of a Hub repository such as "owner/name".

    revision: branch, tag or commit of the repository; default: its main branch. Sizes and checksums are verified.
    Raises UserError if there is no model, and if the optional package huggingface_hub is needed and missing.
    """
    if Path(place).exists():
        if revision is not None:
            raise UserError(f"{place} is a folder here, which has no revisions; leave revision={revision!r} out")
        return load_model(place)
    if not _is_repository(str(place)):
        raise UserError(f"there is no model at {place}; give a folder, or a Hub repository as owner/name")
    hub = _hub()
    try:
        folder = hub.snapshot_download(str(place), revision=revision, allow_patterns=list(FILES))
    except Exception as error:  # of what the layers of a network raise there is no list
        raise UserError(f"{place} cannot be fetched from the Hub: {_first_line(error)}") from error
    return load_model(folder)


def push_to_hub(
    model: Saved, repository: str, *, card: Card | None = None, private: bool = False, message: str = ""
) -> str:
    """`save_pretrained` into a Hub repository "owner/name", which is created if it is new. Returns the address of the
    commit.

    Log in first with `hf auth login`, or set HF_TOKEN. Raises UserError if the Hub refuses.
    """
    if not _is_repository(repository):
        raise UserError(f"'{repository}' is no Hub repository; give it as owner/name")
    hub = _hub()
    with TemporaryDirectory() as place:
        folder = save_pretrained(model, place, card=card)
        try:
            hub.create_repo(repository, private=private, exist_ok=True)
            sent = hub.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=list(FILES),
                commit_message=message or f"{model.name}, by muntin",
            )
        except Exception as error:  # as above
            raise UserError(f"the model cannot be sent to {repository}: {_first_line(error)}") from error
    return str(getattr(sent, "commit_url", sent))


def model_card(model: Saved, card: Card) -> str:
    """README.md of a Hub folder: a head that the Hub reads, and what a user wants to know."""
    name, classes = entry(model.name).name, model.classes
    page = _PAGES[model.model.kind]
    head = {
        "license": card.license,
        "library_name": "muntin",
        "pipeline_tag": page.pipeline,
        "tags": ["muntin", _tag(model), name],
        "datasets": list(card.datasets),
        "metrics": ["accuracy"] if card.metrics else [],
        "base_model": card.base_model,
    }
    numbers = "\n".join(f"| {_as_text(metric)} | {value:g} |" for metric, value in card.metrics.items())
    shown = ", ".join(map(_as_text, classes[:20])) + (", ..." if len(classes) > 20 else "")
    sections = {
        "How to load": page.load.format(name=name),
        "Classes": f"{len(classes)}: {shown}" if classes else "",
        "Pre-processing": "\n".join(f"- {key}: {value}" for key, value in model.inputs.items()),
        "Numbers": f"| metric | value |\n|---|---|\n{numbers}\n\n{card.protocol}".strip() if card.metrics else "",
        "Training": card.training,
        "Limits": card.limits,
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items() if value]
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items() if text)
    title = f"# {name}: {page.title}"
    return "\n".join(["---", *lines, "---", "", title, "", body, ""])


class _Page(NamedTuple):
    """What the card of a kind of model says."""

    title: str
    pipeline: str  # the Hub's word
    load: str


_PAGES = {
    "classifier": _Page(
        "classifier",
        "image-classification",
        """```python
import muntin

saved = muntin.from_pretrained("PLACE")  # this folder, or the repository as owner/name
logits = saved.model(pictures)  # (B, C, H, W), prepared as below -> (B, K)
```""",
    ),
    "simmim": _Page(
        "SimMIM pre-training",
        "image-feature-extraction",
        """```python
import muntin

backbone = muntin.create_backbone("{name}", weights="PLACE")  # this folder
levels = backbone(pictures).levels  # (B, C, H, W), prepared as below
```""",
    ),
}


def _as_text(name: str) -> str:
    """A name as Markdown text: names come from folders and files of anybody, and are no markup."""
    return re.sub(r"([\\`*_<>\[\]|&#])", r"\\\1", " ".join(name.split()))


def _tag(model: Saved) -> str:
    """The family, as the Hub's users look for it."""
    files = entry(model.name).family.files
    return files.tag or files.title.lower().replace(" ", "-")


def _is_repository(place: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", place, re.ASCII) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError("the Hub needs the package huggingface_hub: pip install 'muntin[hub]'") from error
    return huggingface_hub
