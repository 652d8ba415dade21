"""Names to models.

`create_model` gives a module images -> logits, `create_backbone` one images -> levels. Short names are canonical;
the names of the official configs, timm, torchvision and transformers are accepted. One file a family says what there
is.
"""

from .cost import multiply_adds as multiply_adds
from .create import create_backbone as create_backbone
from .create import create_model as create_model
from .create import variant_windows as variant_windows
from .entry import Entry as Entry
from .entry import Family as Family
from .names import ALIASES as ALIASES
from .names import CATALOG as CATALOG
from .names import FAMILIES as FAMILIES
from .names import as_size as as_size
from .names import build_config as build_config
from .names import entry as entry
from .names import list_models as list_models

__all__ = [
    "ALIASES",
    "CATALOG",
    "FAMILIES",
    "Entry",
    "Family",
    "as_size",
    "build_config",
    "create_backbone",
    "create_model",
    "entry",
    "list_models",
    "multiply_adds",
    "variant_windows",
]
