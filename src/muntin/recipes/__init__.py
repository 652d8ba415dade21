"""What to train and how, as typed values: the papers' recipes, and how a recipe is saved and compared."""

from muntin.recipes.index import RECIPES as RECIPES
from muntin.recipes.index import get as get
from muntin.recipes.recipe import About as About
from muntin.recipes.recipe import DataChoice as DataChoice
from muntin.recipes.recipe import ModelChoice as ModelChoice
from muntin.recipes.recipe import Recipe as Recipe
from muntin.recipes.sameness import MAY_CHANGE as MAY_CHANGE
from muntin.recipes.sameness import differences as differences
from muntin.recipes.sameness import hash_of_run as hash_of_run
from muntin.recipes.sameness import recipe_hash as recipe_hash
from muntin.recipes.saved import from_json as from_json
from muntin.recipes.saved import read_recipe as read_recipe
from muntin.recipes.saved import to_json as to_json

__all__ = [
    "MAY_CHANGE",
    "RECIPES",
    "About",
    "DataChoice",
    "ModelChoice",
    "Recipe",
    "differences",
    "from_json",
    "get",
    "hash_of_run",
    "read_recipe",
    "recipe_hash",
    "to_json",
]
