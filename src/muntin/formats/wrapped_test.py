import pytest

from muntin.formats.wrapped import unwrap

BODY = ["norm0.weight", "layers.0.weight"]


def layout_of(keys: set[str]) -> str | None:
    return "known" if "layers.0.weight" in keys else None


def under(prefix: str) -> list[str]:
    return [prefix + key for key in BODY]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_bare_backbone_is_not_wrapped_in_anything(prefix):
    found = unwrap(under(prefix), layout_of)
    assert found == (dict(zip(under(prefix), BODY)), {}, "", "known")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_neck_and_heads_of_a_detector_are_left_aside_with_a_reason(prefix):
    keys = [prefix + key for key in (*under("backbone."), "neck.conv.weight", "roi_head.bbox_head.fc.weight")]
    found = unwrap(keys, layout_of)
    assert found.inside == dict(zip(keys, BODY))
    assert list(found.aside) == keys[2:]
    assert set(found.aside.values()) == {"neck and heads around the backbone"}
    assert found.wrapped_in == "a detector (backbone.*, neck.*, roi_head.*)"


def test_a_segmenter_and_a_classifier_are_called_what_they_are():
    assert unwrap([*under("backbone."), "decode_head.weight", "auxiliary_head.weight"], layout_of).wrapped_in == (
        "a segmenter (backbone.*, decode_head.*, auxiliary_head.*)"
    )
    found = unwrap([*under("backbone."), "head.fc.weight"], layout_of)
    assert found.wrapped_in == "a classifier (backbone.*, head.*)"
    assert found.inside["head.fc.weight"] == "head.fc.weight"
    assert unwrap(under("backbone."), layout_of).wrapped_in == "a file of backbone.* alone"


def test_of_moby_the_online_encoder_alone_is_taken():
    others = ["encoder_k.layers.0.weight", "projector.weight", "projector_k.weight", "predictor.weight", "queue1"]
    found = unwrap([*under("encoder."), *others, "queue_ptr"], layout_of)
    assert list(found.inside.values()) == BODY
    assert list(found.aside) == [*others, "queue_ptr"]
    assert found.wrapped_in.startswith("MoBY pre-training (encoder.*, encoder_k.*")


def test_parts_that_nobody_knows_stay_inside_where_they_are_noticed():
    found = unwrap([*under("backbone."), "surprise.weight"], layout_of)
    assert found.inside["surprise.weight"] == "surprise.weight"


def test_a_file_without_a_known_backbone_has_no_layout():
    assert unwrap(["backbone.conv1.weight", "neck.weight"], layout_of).layout is None
