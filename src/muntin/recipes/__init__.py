"""What to train and how, as typed values: the papers' recipes."""

from muntin.recipes.index import RECIPES as RECIPES
from muntin.recipes.index import get as get
from muntin.recipes.recipe import Recipe as Recipe
from muntin.recipes.recipe import from_json as from_json
from muntin.recipes.recipe import read_recipe as read_recipe
from muntin.recipes.recipe import to_json as to_json

__all__ = ["RECIPES", "Recipe", "from_json", "get", "read_recipe", "to_json"]
