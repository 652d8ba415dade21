"""Agreement with the original code, on recorded vectors: pytest -m reference, ids <system>/<case>.

Folder: MUNTIN_REFERENCE if set, else ../shared/reference if it is there, else tests/vectors. What a case is follows
from its tensors and metadata, never from its name. Weights are loaded strictly under their official names, so each
case proves the conversion too, and every recorded output and gradient must have been compared.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .reference import convnext, vit
from .reference.adapting import adapts, check_adapting, check_frozen
from .reference.case import Case, files
from .reference.cvt import check_cvt
from .reference.distillation import check_distillation
from .reference.swin import check_classifier, check_dense, check_simmim, check_window_attention
from .reference.training import check_masks, check_mixing, check_training

BUILT = {"swin_v1", "swin_v2", "simmim", "recipes", "vit", "deit", "convnext", "cvt"}


@pytest.mark.reference
@pytest.mark.parametrize("path", files())
def test_agrees_with_the_original(path: Path):
    system = path.parent.name
    if system not in BUILT:
        pytest.skip(f"{system} is not built yet")
    case = Case(path)
    check_of(case)(case)


def check_of(case: Case):
    """The check for what a case holds."""
    config = case.config if isinstance(case.config, dict) else {}
    official = str(config.get("class", ""))
    if "input/teacher_logits" in case.tensors:
        return check_distillation
    if "image_shape_NHWC" in config:
        return vit.check_vit
    if any("new_grid" in value for value in config.values() if isinstance(value, dict)):
        return vit.check_positions
    if official.startswith("ConvNeXt"):
        return convnext.check
    if official.endswith("VisionTransformer"):
        return vit.check_deit
    if "spec" in config:
        return check_cvt
    if case.has("weights/encoder.blocks."):
        return vit.check_adapting_vit if adapts(config) else vit.check_simmim_vit
    if adapts(config):
        return check_adapting
    if "frozen" in case.metadata:
        return check_frozen
    if case.has("output/lr_") or any(key.startswith("decay_groups") for key in case.metadata):
        return check_training
    if case.has("output/mask"):
        return check_masks
    if any(key.startswith("input/") and key.endswith("/labels") for key in case.tensors):
        return check_mixing
    if case.has("weights/encoder.layers.") and case.has("output/loss"):
        return check_simmim
    if case.has("weights/0."):
        return check_window_attention
    if any(key.startswith("output/stage") and tensor.ndim == 4 for key, tensor in case.tensors.items()):
        return check_dense
    if case.has("output/logits") or case.has("output/features"):
        return check_classifier
    pytest.skip(f"no check for a case with the outputs {', '.join(sorted(case.under('output/')))}")
