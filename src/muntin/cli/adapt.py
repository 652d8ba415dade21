"""`muntin adapt IN OUT ...`: a classifier made for another window, picture, number of classes or of channels."""

from __future__ import annotations

import argparse

from .arguments import Parser, positive


def parser() -> Parser:
    options = Parser("adapt", "Write a model folder made for something else than its weights were.")
    options.add_argument("source", metavar="IN", help="weights file, model folder or run folder, in any known layout")
    options.add_argument("out", metavar="OUT", help="the model folder to write")
    options.add_argument("--window", type=size, help="tokens: 12, or height and width as 12x16")
    options.add_argument("--image-size", type=size, help="pixels: 384, or height and width as 384x512")
    options.add_argument("--num-classes", type=positive, help="a head of zeros for so many classes, to be trained")
    options.add_argument("--in-chans", type=positive, help="input channels")
    options.add_argument("--class-map", metavar="FILE", help="rows of the old head for the new classes, one a line")
    options.add_argument(
        "--bias-rule",
        choices=("auto", "bicubic", "geometric"),
        default="auto",
        help="how bias tables are resized (default: geometric for SimMIM's files, bicubic for others)",
    )
    options.add_argument("--freeze-bias", action="store_true", help="Swin V2's position bias as a plain table")
    options.add_argument("--model", default="", help="catalog name, for a Swin V2 whose file does not tell its window")
    options.add_argument("--overwrite", action="store_true", help="replace the model at OUT")
    return options


def size(text: str) -> tuple[int, int]:
    """Parse a size: one side, or height and width with an x between."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; give a side such as 12, or height and width as 12x16")
    return int(sides[0]), int(sides[-1])


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)

    from muntin.weights.adapt import adapt

    report = adapt(
        given.source,
        given.out,
        window=given.window,
        image_size=given.image_size,
        num_classes=given.num_classes,
        in_chans=given.in_chans,
        class_map=given.class_map,
        rule=given.bias_rule,
        freeze_bias=given.freeze_bias,
        model=given.model,
        overwrite=given.overwrite,
    )
    print(f"{report.table()}\n{given.out}: model folder, from the {report.layout} layout")
    return 0
