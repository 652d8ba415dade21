"""`muntin convert IN OUT --layout LAYOUT`: the same weights under another project's names."""

from __future__ import annotations

from .arguments import Parser

LAYOUTS = ("muntin", "official", "dense", "simmim", "timm", "torchvision", "transformers", "openmmlab", "deit3")


def parser() -> Parser:
    options = Parser("convert", "Write weights of any known layout in another one; nothing is resized.")
    options.add_argument("source", metavar="IN", help="weights file, model folder or run folder, in any known layout")
    options.add_argument(
        "out",
        metavar="OUT",
        help="a folder for muntin, transformers; .npz for a ViT's official; .safetensors or .pth for others",
    )
    options.add_argument("--layout", required=True, choices=LAYOUTS, help=f"one of {', '.join(LAYOUTS)}")
    options.add_argument("--model", default="", help="catalog name, for a Swin V2 whose file does not tell its window")
    options.add_argument("--overwrite", action="store_true", help="replace what is at OUT")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)

    from muntin.weights.convert import convert

    report = convert(given.source, given.out, layout=given.layout, model=given.model, overwrite=given.overwrite)
    print(f"{report.table()}\n{given.out}: {given.layout} layout, from the {report.layout} layout")
    return 0
