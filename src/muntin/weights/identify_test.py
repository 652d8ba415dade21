import pytest
import torch

from muntin.errors import UserError
from muntin.formats.layout import Foreign
from muntin.weights.create import create_model
from muntin.weights.identify import architecture, empty_model, misfits, named

SMALL = {"dim": 8, "depths": (2, 3), "heads": (1, 2), "window": 4}


def found(name: str, **changes) -> Foreign:
    """The tensors of a model without memory, its windows known."""
    with torch.device("meta"):
        model = create_model(name, num_classes=7, **changes)
    windows = tuple(stage[0].window for stage in model.backbone.attentions())
    return Foreign("muntin", dict(model.state_dict()), {}, settings={"window": windows})


@pytest.mark.parametrize(
    "name", ["swin_tiny", "swin_tiny_c24", "swin_base_window12", "swin_v2_small_window16", "swin_v2_huge_window12"]
)
def test_models_of_the_catalog_are_told_from_their_shapes(name):
    told = architecture(found(name))
    assert (told.kind, told.num_classes) == ("classifier", 7)
    assert named(told) == (name, {}, (), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"extra_norm_period": 2},
        {"extra_norm_period": 3, "extra_norm_scope": "network"},
        {"qkv_bias": False, "patch_norm": False, "mlp_ratio": 2.0},
        {"in_chans": 13, "patch": (2, 4), "absolute_position": (6, 5)},
        {"frozen_bias": True},
    ],
)
def test_what_differs_from_a_published_model_is_told(changes):
    state = found("swin_v2_tiny_window8", **SMALL, **changes)
    told = architecture(state)
    best = named(told)
    assert best.changes.items() >= changes.items()
    assert misfits(state.tensors, empty_model(best, told, state.tensors)) == []


def test_parts_of_a_model_are_no_model():
    state = found("swin_tiny", **SMALL)
    rest = {key: tensor for key, tensor in state.tensors.items() if "patch_embed" not in key}
    with pytest.raises(UserError, match="no whole Swin"):
        architecture(state._replace(tensors=rest))
