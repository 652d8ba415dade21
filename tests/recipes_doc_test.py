"""docs/recipe_table.md lists every recipe as the index has it."""

from pathlib import Path

from muntin.recipes import RECIPES, get

PAGE = Path(__file__).parents[1] / "docs" / "recipe_table.md"


def table() -> str:
    """Name, first line, expected metric and needed weights of every recipe, as Markdown."""
    rows = ["| recipe | what it does | expected | starts from |", "|---|---|---|---|"]
    for name, make in RECIPES.items():
        about, what = get(name).about, make.__doc__.splitlines()[0].removesuffix(".").partition(": ")[0]
        rows.append(f"| `{name}` | {what} | {about.expected} | {about.starts_from or 'random weights'} |")
    return "\n".join(rows) + "\n"


def test_page_lists_every_recipe_with_its_number_and_its_weights():
    assert table() in PAGE.read_text(encoding="utf-8"), (
        f"docs/recipe_table.md has another table than this:\n\n{table()}"
    )
