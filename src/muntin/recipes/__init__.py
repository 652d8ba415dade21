"""What to train and how: recipes, and running them."""

from muntin.recipes.cookbook import RECIPES as RECIPES
from muntin.recipes.cookbook import get as get
from muntin.recipes.recipe import Recipe as Recipe
from muntin.recipes.recipe import from_json as from_json
from muntin.recipes.recipe import read_recipe as read_recipe
from muntin.recipes.recipe import to_json as to_json
from muntin.recipes.run import check as check
from muntin.recipes.run import run as run
from muntin.recipes.tiny import tiny as tiny

__all__ = ["RECIPES", "Recipe", "check", "from_json", "get", "read_recipe", "run", "tiny", "to_json"]
