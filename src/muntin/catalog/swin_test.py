import math

import pytest

from muntin.catalog import FAMILIES, build_config
from muntin.errors import UserError

V2 = FAMILIES["swin_v2"]
SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (3, 3)}


def test_torchvision_gets_its_buffers_and_no_scale_that_it_cannot_say():
    buffers = V2.buffers("torchvision", build_config("swin_v2_tiny_window8", SMALL), (32, 32))
    assert buffers["features.3.0.attn.relative_position_index"].shape == (81,)
    coordinates = buffers["features.1.0.attn.relative_coords_table"]
    assert coordinates.shape == (1, 5, 5, 2)
    assert coordinates[0, 2, 4].tolist() == pytest.approx([0, math.log2(9) / 3])  # 8 at the end of the window
    other = build_config("swin_v2_tiny_window8", {"pretrained_window": ((2, 2), (3, 3)), **SMALL})
    with pytest.raises(UserError, match="trained with windows 2x2 3x3 and is used with 3x3 3x3"):
        V2.buffers("torchvision", other, (32, 32))


def test_training_fixes_the_windows_that_it_really_used_unless_they_are_set():
    config = build_config("swin_v2_tiny_window8", SMALL)
    assert V2.trained(config, (16, 16)) == {"pretrained_window": ((3, 3), (2, 2))}
    assert V2.trained(config, None) == {"pretrained_window": ((3, 3), (3, 3))}
    set_to = build_config("swin_v2_tiny_window8", {**SMALL, "pretrained_window": (6, 3)})
    assert V2.trained(set_to, (16, 16)) == {"pretrained_window": ((6, 6), (3, 3))}


def test_weights_keep_their_scale_only_where_the_model_would_give_them_another():
    before = build_config("swin_v2_tiny_window8", SMALL)
    assert V2.kept(before, (16, 16), before, (16, 16)) == {}
    larger = build_config("swin_v2_tiny_window8", {**SMALL, "window": 4})
    assert V2.kept(larger, (32, 32), before, (16, 16)) == {"pretrained_window": ((3, 3), (2, 2))}
    own = build_config("swin_v2_tiny_window8", {**SMALL, "window": 4, "pretrained_window": (6, 3)})
    assert V2.kept(own, (32, 32), before, (16, 16)) == {}
    deeper = build_config("swin_v2_tiny_window8", {"window": 4})
    assert V2.kept(deeper, (32, 32), before, (16, 16)) == {}


def test_a_whole_number_is_a_square_in_every_field_that_holds_one():
    config = build_config("swin_v2_tiny_window8", {"window": 4, "patch": 2, "pretrained_window": [6, 6, [5, 4], 3]})
    assert (config.window, config.patch) == ((4, 4), (2, 2))
    assert config.pretrained_window == ((6, 6), (6, 6), (5, 4), (3, 3))


def test_a_window_is_no_change_for_having_another_number_of_stages():
    published, shallow = (build_config("swin_v2_base_window12to16", fields) for fields in ({}, {"depths": (1, 1)}))
    assert "window" not in V2.changes(shallow, published)
    other = build_config("swin_v2_base_window12to16", {"depths": (1, 1), "window": 8})
    assert V2.changes(other, published)["window"] == ((8, 8), (8, 8))
