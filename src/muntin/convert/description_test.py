import json

import pytest

from muntin.convert.description import Description, describe
from muntin.disk.records import FORMAT, sealed
from muntin.errors import UserError


def described(folder, content, stages: int = 2) -> Description:
    (folder / "config.json").write_text(json.dumps(content))
    return describe(folder / "model.safetensors", stages)


def ours(**content) -> dict:
    return sealed({"format": FORMAT, **content})


def test_our_description_tells_windows_and_scale(tmp_path):
    config = {"window": [[7, 7], [4, 5]], "pretrained_window": [[12, 12], [6, 6]]}
    assert described(tmp_path, ours(config=config)) == Description(((7, 7), (4, 5)), ((12, 12), (6, 6)))
    trained = ours(config=config, trained_windows=[[7, 7], [3, 3]])
    assert described(tmp_path, trained).windows == ((7, 7), (3, 3))


def test_transformers_tells_the_scale_as_one_side_a_stage(tmp_path):
    assert described(tmp_path, {"pretrained_window_sizes": [12, 6]}).pretrained_window == ((12, 12), (6, 6))
    assert described(tmp_path, {"pretrained_window_sizes": [0, 0]}).pretrained_window is None


def test_transformers_tells_the_windows_of_v2_which_small_maps_shrink(tmp_path):
    published = {"model_type": "swinv2", "image_size": 192, "patch_size": 4, "window_size": 12}
    published |= {"pretrained_window_sizes": [0, 0, 0, 0]}
    expected = ((12, 12), (12, 12), (12, 12), (6, 6))
    assert described(tmp_path, published, stages=4) == Description(expected, None, image_size=(192, 192))
    assert described(tmp_path, published | {"image_size": [192, 256]}, stages=4).windows == expected
    for other in ({"model_type": "swin"}, {"window_size": "12"}, {"patch_size": 0}, {"patch_size": 64}):
        assert described(tmp_path, published | other, stages=4).windows is None


@pytest.mark.parametrize(
    "value", [7, [[7, 7]], [7.0, 7], [[7], [7]], "77", [[0, 7], [7, 7]], None, [True, True]], ids=str
)
def test_what_are_no_sizes_one_a_stage_tells_nothing(tmp_path, value):
    assert described(tmp_path, ours(config={"pretrained_window": value, "window": value})) == Description()
    assert described(tmp_path, ours(config=value)) == Description()
    assert described(tmp_path, {"pretrained_window_sizes": value}) == Description()


def test_no_description_and_that_of_other_weights_tell_nothing(tmp_path):
    assert describe(tmp_path / "model.safetensors", 4) == Description()
    described(tmp_path, {"pretrained_window_sizes": [12, 6]})
    assert describe(tmp_path / "official.pth", 2) == Description()


def test_a_damaged_description_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="own checksum differs"):
        described(tmp_path, ours(config={}) | {"kind": "classifier"})
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="missing or damaged"):
        describe(tmp_path / "model.safetensors", 2)
