"""Names to models.

Short names are canonical; the names of the official configs, timm, torchvision and transformers are accepted. Each
family has one file that lists its models. `weights.create` builds a model from a name and loads weights into it.
"""

from .build import Fresh as Fresh
from .build import build_backbone as build_backbone
from .build import build_classifier as build_classifier
from .cost import multiply_adds as multiply_adds
from .entry import BiasTables as BiasTables
from .entry import Entry as Entry
from .entry import Family as Family
from .names import ALIASES as ALIASES
from .names import CATALOG as CATALOG
from .names import FAMILIES as FAMILIES
from .names import FILES as FILES
from .names import as_size as as_size
from .names import build_config as build_config
from .names import entry as entry
from .names import family_of as family_of
from .names import list_models as list_models

__all__ = [
    "ALIASES",
    "CATALOG",
    "FAMILIES",
    "FILES",
    "BiasTables",
    "Entry",
    "Family",
    "Fresh",
    "as_size",
    "build_backbone",
    "build_classifier",
    "build_config",
    "entry",
    "family_of",
    "list_models",
    "multiply_adds",
]
