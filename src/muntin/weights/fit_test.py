import pytest
import torch
import torch.nn.functional as F

from muntin.catalog import FAMILIES
from muntin.errors import UserError
from muntin.formats.beit import spread_bias
from muntin.models import BEiTConfig, SwinConfig, ViTConfig
from muntin.ops.resample import resize_grid
from muntin.weights.fit import (
    adapt_channels,
    fit,
    resize_table,
    select_classes,
    zero_head,
)

SWIN, VIT, BEIT = FAMILIES["swin"], FAMILIES["vit"], FAMILIES["beit"]


def swin(window) -> SwinConfig:
    return SwinConfig(depths=(1, 1), heads=(2, 2), window=window)


def test_the_bicubic_rule_resizes_a_table_as_a_picture_of_its_offsets():
    table = torch.randn(49, 3)
    picture = F.interpolate(table.T.view(1, 3, 7, 7), size=(11, 11), mode="bicubic", align_corners=False)
    torch.testing.assert_close(resize_table(table, (6, 6)), picture.view(3, 121).T)


def official_coordinates(source: int, target: int) -> tuple[list[float], float]:
    """Where SimMIM's remap_pretrained_keys_swin puts the old offsets, and its q. source, target: sides of tables."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        if sum(q**i for i in range(source // 2)) > target // 2:
            high = q
        else:
            low = q
    steps = [sum(q**i for i in range(n + 1)) for n in range(source // 2)]
    return [-s for s in reversed(steps)] + [0.0, *steps], q


@pytest.mark.parametrize(("old", "new"), [(4, 6), (6, 7), (7, 14), (12, 14), (12, 7), (3, 12)])
def test_the_geometric_rule_is_a_cubic_spline_over_offsets_in_geometric_progression(old, new):
    interpolate = pytest.importorskip("scipy.interpolate")
    torch.manual_seed(0)
    table = torch.randn((2 * old - 1) ** 2, 2, dtype=torch.float64)
    at, _ = official_coordinates(2 * old - 1, 2 * new - 1)
    offsets = torch.arange(-(new - 1), new, dtype=torch.float64).clamp(at[0], at[-1]).numpy()
    resized = resize_table(table, (new, new), "geometric")
    for head in range(2):
        grid = table[:, head].view(2 * old - 1, -1).numpy()
        spline = interpolate.RectBivariateSpline(at, at, grid)(offsets, offsets)
        torch.testing.assert_close(
            resized[:, head].view(2 * new - 1, -1), torch.from_numpy(spline), rtol=1e-9, atol=1e-9
        )


def test_the_geometric_rule_reproduces_a_cubic_of_the_offsets_it_assumes():
    at, q = official_coordinates(7, 13)
    assert 1.01 < q < 1.5
    at = torch.tensor(at, dtype=torch.float64)
    table = (at**3 - 2 * at).view(7, 1).expand(7, 7).reshape(49, 1)
    new = torch.arange(-6.0, 7.0, dtype=torch.float64).clamp(at[0], at[-1])
    resized = resize_table(table, (7, 7), "geometric").view(13, 13)
    torch.testing.assert_close(resized, (new**3 - 2 * new).view(13, 1).expand(13, 13), rtol=1e-9, atol=1e-9)


def test_values_beyond_the_last_old_offset_are_those_at_the_edge():
    at, q = official_coordinates(5, 31)
    assert q > 1.499  # cannot reach the end of the new window
    resized = resize_table(torch.randn(25, 1), (16, 16), "geometric").view(31, 31)
    beyond = 15 - int(at[-1])
    assert torch.equal(resized[:beyond], resized[0].expand(beyond, 31))
    assert torch.equal(resized[:, -beyond:], resized[:, -1:].expand(31, beyond))


def test_each_axis_of_a_window_is_resized_by_itself():
    torch.manual_seed(0)
    table = torch.randn(7 * 5, 2)
    same_columns = resize_table(table, (6, 3), "geometric", from_window=(4, 3)).view(11, 5, 2)
    square = torch.zeros(7, 7, 2)
    square[:, 1:6] = table.view(7, 5, 2)
    assert torch.equal(resize_table(table, (4, 3), "geometric", from_window=(4, 3)), table)
    rows = resize_table(square.view(49, 2), (6, 4), "geometric", from_window=(4, 4)).view(11, 7, 2)
    torch.testing.assert_close(same_columns, rows[:, 1:6])


def test_low_precision_is_resized_in_fp64():
    table = torch.randn(49, 2).bfloat16()
    resized = resize_table(table, (6, 6), "geometric")
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, resize_table(table.double(), (6, 6), "geometric").bfloat16())


def test_too_few_offsets_for_a_spline_is_one_sentence():
    with pytest.raises(UserError, match="a window side of 2 has 3; choose the bicubic rule"):
        resize_table(torch.randn(9, 1), (4, 4), "geometric")
    assert resize_table(torch.randn(9, 1), (4, 4)).shape == (49, 1)


@pytest.mark.parametrize("rows", [15, 16, 50])
def test_a_table_of_no_square_window_needs_to_be_told_its_window(rows):
    with pytest.raises(UserError, match=f"{rows} offsets belongs to no square window"):
        resize_table(torch.randn(rows, 1), (4, 4))
    with pytest.raises(UserError, match="is not one of window 9x9"):
        resize_table(torch.randn(rows, 1), (4, 4), from_window=(9, 9))


# --- classes


def classifier(classes: int = 5) -> dict[str, torch.Tensor]:
    return {
        "backbone.x": torch.randn(2),
        "readout.norm.weight": torch.randn(4),
        "readout.head.weight": torch.randn(classes, 4),
        "readout.head.bias": torch.randn(classes),
    }


def test_chosen_classes_are_rows_of_the_old_head():
    state = classifier()
    chosen = select_classes(state, [3, 0, 3])
    assert torch.equal(chosen["readout.head.weight"], state["readout.head.weight"][[3, 0, 3]])
    assert torch.equal(chosen["readout.head.bias"], state["readout.head.bias"][[3, 0, 3]])
    assert chosen["backbone.x"] is state["backbone.x"]


@pytest.mark.parametrize("row", [5, -1, 1.0, "0", True])
def test_a_row_that_the_head_does_not_have_is_named(row):
    with pytest.raises(UserError, match=rf"class 1 is to be row {row!r} of a head of 5; rows are 0 to 4"):
        select_classes(classifier(), [0, row])


def test_classes_need_a_head_and_a_list():
    with pytest.raises(UserError, match="no head to choose"):
        select_classes({"backbone.x": torch.ones(1)}, [0])
    with pytest.raises(UserError, match="list of classes is empty"):
        select_classes(classifier(), [])


@pytest.mark.parametrize("bias", [None, torch.ones(4), torch.ones(5, 1)])
def test_classes_are_chosen_from_no_damaged_head(bias):
    state = classifier() | {"readout.head.bias": bias}
    with pytest.raises(UserError, match="has no bias for every row"):
        select_classes({k: v for k, v in state.items() if v is not None}, [4, 0])


def test_a_zero_head_has_the_size_of_the_features():
    state = classifier()
    changed = zero_head(state, 7)
    assert changed["readout.head.weight"].shape == (7, 4)
    assert not changed["readout.head.weight"].any()
    assert changed["readout.head.bias"].shape == (7,)
    assert changed["readout.norm.weight"] is state["readout.norm.weight"]
    with pytest.raises(UserError, match="no final norm"):
        zero_head({}, 7)
    with pytest.raises(UserError, match="a head of 0 classes"):
        zero_head(state, 0)


# --- input channels


@pytest.mark.parametrize("in_chans", [1, 2, 3, 4, 6, 13])
def test_a_grey_picture_embeds_as_before_for_any_number_of_channels(in_chans):
    weight, grey = torch.randn(5, 3, 4, 4), torch.rand(1, 1, 8, 8)
    adapted = adapt_channels(weight, in_chans)
    before, after = (F.conv2d(grey.expand(1, w.shape[1], 8, 8), w, stride=4) for w in (weight, adapted))
    torch.testing.assert_close(after, before)


def test_channels_are_dealt_out_in_turn():
    weight = torch.randn(5, 3, 4, 4)
    R, G, B = weight.unbind(1)
    torch.testing.assert_close(adapt_channels(weight, 1), weight.sum(1, keepdim=True))
    torch.testing.assert_close(adapt_channels(weight, 2), torch.stack((R + B, G), 1))
    assert torch.equal(adapt_channels(weight, 3), weight)
    torch.testing.assert_close(adapt_channels(weight, 4), torch.stack((R / 2, G, B, R / 2), 1))
    torch.testing.assert_close(adapt_channels(weight[:, :1], 3), weight[:, :1].expand(-1, 3, -1, -1) / 3)
    with pytest.raises(UserError, match="in_chans is 0"):
        adapt_channels(weight, 0)


# --- whole states


def test_only_what_differs_by_window_grid_or_channels_is_changed():
    state = {
        "backbone.stages.1.0.mix.position.table": torch.randn(49, 2),
        "backbone.stages.0.0.mix.position.table": torch.randn(49, 2),
        "backbone.absolute_position.embedding": torch.randn(3, 5, 8),
        "backbone.patch_embed.proj.weight": torch.randn(8, 3, 4, 4),
        "readout.head.weight": torch.randn(3, 8),
    }
    wanted = {
        "backbone.stages.1.0.mix.position.table": torch.empty(121, 2),
        "backbone.stages.0.0.mix.position.table": torch.empty(49, 2),
        "backbone.absolute_position.embedding": torch.empty(6, 10, 8),
        "backbone.patch_embed.proj.weight": torch.empty(8, 4, 4, 4),
        "readout.head.weight": torch.empty(5, 8),
    }
    changes = fit(state, wanted, SWIN, swin(window=((4, 4), (6, 6))), "bicubic")
    assert {key: (tuple(change.tensor.shape), change.what) for key, change in changes.items()} == {
        "backbone.stages.1.0.mix.position.table": ((121, 2), "window"),
        "backbone.absolute_position.embedding": ((6, 10, 8), "image_size"),
        "backbone.patch_embed.proj.weight": ((8, 4, 4, 4), "in_chans"),
    }
    assert changes["backbone.stages.1.0.mix.position.table"].why == "4x4 -> 6x6 window, bicubic"
    assert changes["backbone.absolute_position.embedding"].why == "3x5 -> 6x10 tokens, bicubic"


def test_another_width_is_not_adapted():
    table, patches = "backbone.stages.0.0.mix.position.table", "backbone.patch_embed.proj.weight"
    state = {table: torch.randn(49, 2), patches: torch.randn(8, 3, 4, 4)}
    wanted = {table: torch.empty(121, 4), patches: torch.empty(16, 4, 4, 4)}
    assert fit(state, wanted, SWIN, swin(window=(6, 6)), "bicubic") == {}


def test_windows_of_as_many_offsets_are_told_apart_where_they_are_known():
    key = "backbone.stages.0.0.mix.position.table"
    state, wanted = {key: torch.randn(21, 2)}, {key: torch.empty(21, 2)}
    assert fit(state, wanted, SWIN, swin(window=(4, 2)), "bicubic", {"window": [(4, 2)]}) == {}
    changed = fit(state, wanted, SWIN, swin(window=(2, 4)), "bicubic", {"window": [(4, 2)]})[key]
    assert changed.why == "4x2 -> 2x4 window, bicubic"
    assert torch.equal(changed.tensor, resize_table(state[key], (2, 4), "bicubic", (4, 2)))


# --- positions and tables of ViT and BEiT ----------------------------------------------------------------------------


def test_the_class_rows_of_a_table_stay_and_its_offsets_are_resized():
    table = torch.randn(49 + 3, 2)
    for rule in ("bicubic", "geometric"):
        resized = resize_table(table, (6, 5), rule, last_rows=3)
        assert torch.equal(resized[-3:], table[-3:])
        assert torch.equal(resized[:-3], resize_table(table[:-3], (6, 5), rule))


def test_a_shared_table_becomes_every_blocks_own_and_is_fitted_there():
    shared = {"backbone.shared_bias.table": torch.randn(25 + 3, 2), "norm.weight": torch.ones(4)}
    wanted = {f"backbone.blocks.{b}.bias.table": torch.empty(81 + 3, 2, device="meta") for b in range(2)}
    spread = spread_bias(shared, wanted)
    assert spread.keys() == wanted.keys() | {"norm.weight"}
    changes = fit(spread, wanted, BEIT, BEiTConfig(grid=(5, 5)), "geometric")
    assert changes.keys() == wanted.keys()
    expected = resize_table(shared["backbone.shared_bias.table"], (5, 5), "geometric", last_rows=3)
    assert all(torch.equal(change.tensor, expected) for change in changes.values())
    assert changes["backbone.blocks.1.bias.table"].why == "3x3 -> 5x5 tokens, geometric"
    assert spread_bias(shared, shared) == shared


def test_tables_of_as_many_rows_for_another_grid_are_resized():
    state = {"backbone.shared_bias.table": torch.randn(5 * 9 + 3, 2)}
    assert not fit(state, state, BEIT, BEiTConfig(grid=(3, 5)), "bicubic", {"grid": [(3, 5)]})
    [change] = fit(state, state, BEIT, BEiTConfig(grid=(5, 3)), "bicubic", {"grid": [(3, 5)]}).values()
    assert change.why == "3x5 -> 5x3 tokens, bicubic"
    assert not torch.equal(change.tensor, state["backbone.shared_bias.table"])


@pytest.mark.parametrize("resample", ["bicubic", "bicubic_antialias", "bilinear_corners"])
def test_positions_are_resized_and_those_of_tokens_stay(resample):
    state = {"backbone.position.embedding": torch.randn(4, 6, 8), "backbone.prefix.position": torch.randn(2, 8)}
    wanted = {"backbone.position.embedding": torch.empty(3, 2, 8), "backbone.prefix.position": torch.empty(2, 8)}
    [(key, change)] = fit(state, wanted, VIT, ViTConfig(), "bicubic", {"position_resample": resample}).items()
    assert key == "backbone.position.embedding"
    assert torch.equal(change.tensor, resize_grid(state[key], (3, 2), resample))
    assert (change.what, change.why) == ("image_size", f"4x6 -> 3x2 tokens, {resample}")


def test_both_heads_of_a_distilled_model_are_chosen_from_and_zeroed():
    heads = {f"readout.{head}.{name}" for head in ("head", "head_distilled") for name in ("weight", "bias")}
    state = {key: torch.randn(5, 4) if key.endswith("weight") else torch.randn(5) for key in heads}
    state["readout.norm.weight"] = torch.ones(4)
    chosen = select_classes(state, [3, 1])
    assert all(torch.equal(chosen[key], state[key][[3, 1]]) for key in heads)
    zeroed = zero_head(state, 7)
    assert zeroed.keys() == state.keys()
    assert all(len(zeroed[key]) == 7 and not zeroed[key].any() for key in heads)


def test_a_head_behind_a_representation_has_its_width():
    state = {"readout.norm.weight": torch.ones(4), "readout.representation.weight": torch.ones(6, 4)}
    assert zero_head(state, 3)["readout.head.weight"].shape == (3, 6)
