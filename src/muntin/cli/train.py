"""`muntin train RECIPE [--field value ...]`: trains, fine-tunes, distils and pre-trains by a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muntin.errors import UserError

if TYPE_CHECKING:
    from muntin.recipes import Recipe

ABOUT = """\
RECIPE is a name from `muntin train`, or a recipe.json that an earlier run wrote. Besides the recipe's fields below:
--out DIR (run folder, default runs/RECIPE), --resume (continue from the last checkpoint in it), --overwrite (replace
it), --dry-run (check data and weights, print the resolved recipe and stop). A field's short name is enough if only one
field has it: --epochs 3.
"""


@dataclass(kw_only=True)
class Options:
    """The options of the command itself, which are no fields of the recipe."""

    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False


def run(arguments: list[str]) -> int:
    from muntin import recipes, runs

    if not arguments:
        _list_recipes()
        return 0
    if arguments[0] in ("-h", "--help"):
        print("usage: muntin train RECIPE [--field value ...]   (muntin train RECIPE --help shows every field)\n")
        print(ABOUT)
        _list_recipes()
        return 0
    recipe, options = resolve(arguments)
    if options.dry_run:
        print(recipes.to_json(runs.check(recipe)), end="")
        return 0
    out = options.out or Path("runs") / recipe.name
    runs.run(recipe, out, resume=options.resume, overwrite=options.overwrite)
    return 0


def resolve(arguments: list[str]) -> tuple[Recipe, Options]:
    """The recipe with every field that `arguments` change, and the options of the command."""
    from muntin import recipes

    from .form import fill_in  # not at the top: `muntin train` alone needs no models

    place, *rest = arguments
    if place.startswith("-"):
        raise UserError(f"muntin train needs a recipe before '{place}'; `muntin train` lists them")
    options, rest = _own_options(rest)
    if options.resume and options.overwrite:
        raise UserError("--resume keeps the run folder and --overwrite replaces it: give one of them")
    is_file = place.endswith(".json") or (Path(place).is_dir() and place not in recipes.RECIPES)
    recipe = recipes.read_recipe(place) if is_file else recipes.get(place)
    changed = fill_in(recipe, rest, f"muntin train {place}", ABOUT)
    asked = {token.replace("_", "-") for token in rest} & {"--from-scratch", "--model.from-scratch"}
    if asked and changed.model.weights:
        raise UserError("--weights starts from trained weights and --from-scratch from random ones: give one of them")
    return changed, options


def _own_options(arguments: list[str]) -> tuple[Options, list[str]]:
    """Options of the command, and the arguments that are left for the recipe."""
    options, left = Options(), []
    tokens = iter(arguments)
    for token in tokens:
        name, equals, value = token.partition("=")
        if name == "--out":
            value = value if equals else next(tokens, "")
            if not value or value.startswith("--"):
                raise UserError("--out needs a folder, such as --out runs/first")
            options.out = Path(value)
        elif token in ("--resume", "--overwrite", "--dry-run", "--dry_run"):
            setattr(options, token[2:].replace("-", "_"), True)
        else:
            left.append(token)
    return options, left


def _list_recipes() -> None:
    from muntin import recipes

    width = max(map(len, recipes.RECIPES))
    for name, make in recipes.RECIPES.items():
        print(f"  {name:<{width}}  {(make.__doc__ or '').strip().splitlines()[0]}")
