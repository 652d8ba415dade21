import dataclasses

import pytest
import torch
import torch.nn.functional as F

from muntin.errors import UserError
from muntin.models import Swin, SwinConfig

TINY = SwinConfig(dim=8, depths=(2, 3), heads=(1, 2), window=(4, 4))


def test_levels_are_taken_before_merging():
    torch.manual_seed(0)
    model, x = Swin(TINY).eval(), torch.randn(1, 3, 37, 50)
    levels = model(x).levels
    assert [tuple(level.shape) for level in levels] == [(1, 8, 10, 13), (1, 16, 5, 7)]
    y = model.merges[0](levels[0].movedim(1, -1))
    for block in model.stages[1]:
        y = block(y)
    torch.testing.assert_close(levels[1].movedim(1, -1), y)


def test_every_second_block_of_a_stage_is_shifted_by_half():
    shifts = [[attention.shift for attention in stage] for stage in Swin(TINY).attentions()]
    assert shifts == [[(0, 0), (2, 2)], [(0, 0), (2, 2), (0, 0)]]


def test_another_window_resizes_the_tables_bicubically():
    model = Swin(TINY)
    before = model.attentions()[1][1].position.table.detach().clone()
    model.set_window((6, 5))
    attention = model.attentions()[1][1]
    resized = F.interpolate(before.T.reshape(1, 2, 7, 7), size=(11, 9), mode="bicubic", align_corners=False)
    torch.testing.assert_close(attention.position.table.detach(), resized.reshape(2, 99).T)
    assert (attention.window, attention.shift) == ((6, 5), (3, 2))
    assert model(torch.zeros(1, 3, 64, 48)).levels[0].isfinite().all()


def test_drop_path_grows_with_depth():
    rates = [block.drop_path.rate for stage in Swin(TINY, drop_path_rate=0.4).stages for block in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_an_attention_backend_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="choose one of auto, reference"):
        Swin(TINY).set_attention("flash")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": (1, 2, 4)}, "one entry a stage, 2 as in depths"),
        ({"heads": (1, 3)}, "stage 1 has 16 channels, which 3 heads do not divide"),
        ({"window": ((4, 4),) * 3}, "2 whole numbers from 1 to 512 or a tuple with one entry a stage, 2"),
        ({"window": (4, 4, 4)}, "2 whole numbers"),
        ({"window": (0, 4)}, "from 1 to 512"),
        ({"window": (1 << 20, 4)}, "from 1 to 512"),
        ({"depths": (1, 1 << 30)}, "1,000 in all"),
        ({"dim": 1 << 30}, "from 1 to 65,536"),
        ({"mlp_ratio": float("inf")}, "a number from 0 to 65,536"),
        ({"mlp_ratio": 0.01}, "an MLP of 8 channels needs 1 to 65,536 hidden ones"),
        ({"absolute_position": (4, 4, 4)}, "must be 2 whole numbers from 1 to 2,048 or None"),
        ({"patch": (4, 4, 4, 4)}, "1 to 3 whole numbers"),
        ({"small_map": "shrnk"}, "did you mean shrink"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        Swin(dataclasses.replace(TINY, **changes))
