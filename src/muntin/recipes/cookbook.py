"""All recipes by name: plain imports, a plain dictionary."""

from __future__ import annotations

from collections.abc import Callable

from muntin.errors import unknown

from . import digits, own, simmim, swin, swin_22k, swin_v2, swin_v2_22k
from .recipe import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    make.__name__: make
    for make in (
        digits.digits,
        digits.digits_simmim,
        digits.digits_finetune,
        own.pretrain,
        own.train,
        own.finetune,
        swin.swin_tiny,
        swin.swin_tiny_c24,
        swin.swin_small,
        swin.swin_base,
        swin.swin_base_finetune_384,
        swin_22k.swin_tiny_22k,
        swin_22k.swin_small_22k,
        swin_22k.swin_base_22k,
        swin_22k.swin_large_22k,
        swin_22k.swin_tiny_22k_finetune,
        swin_22k.swin_small_22k_finetune,
        swin_22k.swin_base_22k_finetune,
        swin_22k.swin_large_22k_finetune,
        swin_22k.swin_base_22k_finetune_384,
        swin_22k.swin_large_22k_finetune_384,
        swin_v2.swin_v2_tiny_window8,
        swin_v2.swin_v2_tiny_window16,
        swin_v2.swin_v2_small_window8,
        swin_v2.swin_v2_small_window16,
        swin_v2.swin_v2_base_window8,
        swin_v2.swin_v2_base_window16,
        swin_v2_22k.swin_v2_base_window12_22k,
        swin_v2_22k.swin_v2_large_window12_22k,
        swin_v2_22k.swin_v2_base_window12to16_22k_finetune,
        swin_v2_22k.swin_v2_large_window12to16_22k_finetune,
        swin_v2_22k.swin_v2_base_window12to24_22k_finetune,
        swin_v2_22k.swin_v2_large_window12to24_22k_finetune,
        simmim.simmim_swin_base_100ep,
        simmim.simmim_swin_base_800ep,
        simmim.simmim_swin_large_800ep,
        simmim.simmim_swin_v2_base_800ep,
        simmim.simmim_finetune_swin_base_100ep,
        simmim.simmim_finetune_swin_base_100ep_224,
        simmim.simmim_finetune_swin_base_800ep,
        simmim.simmim_finetune_swin_large_800ep,
        simmim.simmim_finetune_swin_v2_base_800ep,
    )
}


def get(name: str) -> Recipe:
    """The recipe of a name. Raises UserError that names the nearest for an unknown one."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES, see="list: muntin train")
    return RECIPES[name]()
