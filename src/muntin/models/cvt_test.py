import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from muntin.errors import UserError
from muntin.models.cvt import VARIANTS, ConvAttention, CvT, CvTConfig, DepthwiseProjection, pool_rounding_up

TINY = CvTConfig(dims=(8, 16, 32), depths=(1, 2, 3), heads=(1, 2, 4))


def model(config: CvTConfig = TINY, seed: int = 0) -> CvT:
    """In eval mode, with every parameter and every statistic off its first value."""
    torch.manual_seed(seed)
    made = CvT(config).eval()
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return made


def picture(*size: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def test_levels_are_the_maps_of_the_stages_and_the_prefix_is_the_last_class_token():
    features = model()(picture(37, 50))
    assert [tuple(level.shape) for level in features.levels] == [(2, 8, 9, 12), (2, 16, 5, 6), (2, 32, 3, 3)]
    assert features.prefix.shape == (2, 1, 32)
    assert model().strides == ((4, 4), (8, 8), (16, 16))


def test_a_batch_of_one_keeps_its_axis():
    assert model()(picture(37, 50, batch=1)).prefix.shape == (1, 1, 32)


def test_a_class_token_of_an_earlier_stage_is_read_there_and_not_given_back():
    config = dataclasses.replace(TINY, class_token=(True, True, False))
    backbone, x = model(config), picture(37, 50)
    features = backbone(x)
    assert features.prefix is None
    with torch.no_grad():
        backbone.class_tokens["0"].normal_()
    assert not torch.allclose(backbone(x).levels[0], features.levels[0], atol=1e-3)


@pytest.mark.parametrize("projection", ["dw_bn", "avg", "linear"])
@pytest.mark.parametrize("class_token", [False, True])
def test_attention_is_softmax_of_the_projected_tokens(projection, class_token):
    """Written out with loops over heads and the formula of the paper, the scale of all channels."""
    config = dataclasses.replace(TINY, projection=(projection,) * 3, class_token=(False, False, class_token))
    attention: ConvAttention = model(config).stages[2][0].mix
    size, P = (5, 3), int(class_token)
    x = torch.randn(2, P + 15, 32)
    grid = x[:, P:].mT.reshape(2, 32, *size)
    made_by = attention.q, attention.k, attention.v
    if projection == "dw_bn":
        q, k, v = (m.bn(F.conv2d(grid, m.conv.weight, None, s, 1, 1, 32)) for m, s in zip(made_by, (1, 2, 2)))
    elif projection == "avg":
        q, (k, v) = grid, [F.avg_pool2d(grid, 3, 2, 1, ceil_mode=True)] * 2
    else:
        q, k, v = grid, grid, grid
    q, k, v = (torch.cat((x[:, :P], t.flatten(2).mT), 1) for t in (q, k, v))
    q, k, v = (m.proj(t) for m, t in zip(made_by, (q, k, v)))
    heads = []
    for i in range(4):
        part = slice(8 * i, 8 * i + 8)
        heads.append((q[..., part] @ k[..., part].mT * 32**-0.5).softmax(-1) @ v[..., part])
    expected = attention.proj(torch.cat(heads, -1))
    for backend in ("reference", "sdpa", "auto"):
        attention.backend = backend
        torch.testing.assert_close(attention(x, size), expected, atol=1e-5, rtol=1e-5)


def test_keys_of_even_maps_are_halved_by_convolutions_and_one_more_by_pooling():
    x = torch.randn(1, 1 + 14 * 14, 32)
    for projection, cells in {"dw_bn": 49, "avg": 64, "linear": 196}.items():
        attention = model(dataclasses.replace(TINY, projection=(projection,) * 3)).stages[2][0].mix
        grid = x[:, 1:].unflatten(1, (14, 14)).movedim(-1, 1)
        assert attention.k(grid, x[:, :1]).shape == (1, 1 + cells, 32)
        assert attention(x, (14, 14)).shape == x.shape


def test_fused_convolutions_give_the_same_features():
    backbone, x = model(), picture(37, 50)
    fused = copy.deepcopy(backbone)
    fused.fuse()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    for level, expected in zip(fused(x).levels, backbone(x).levels, strict=True):
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fused(x).prefix, backbone(x).prefix, atol=1e-5, rtol=1e-5)
    fused.fuse()  # there is nothing left to do


def test_a_model_in_training_mode_is_not_fused():
    with pytest.raises(UserError, match=r"call eval\(\) first"):
        model().train().fuse()


def test_drop_path_grows_within_the_last_stage_alone():
    rates = [[block.drop_path.rate for block in stage] for stage in CvT(TINY, drop_path_rate=0.2).stages]
    assert rates == [[0.0], [0.0, 0.0], pytest.approx([0.0, 0.1, 0.2])]


def test_initialisation_makes_every_value_fresh():
    backbone = model()
    backbone.initialise()
    attention = backbone.stages[0][0].mix
    assert isinstance(attention.q, DepthwiseProjection)
    assert torch.equal(attention.q.bn.running_mean, torch.zeros(8))
    assert torch.equal(attention.q.bn.weight, torch.ones(8))
    assert torch.equal(attention.q.proj.bias, torch.zeros(8))
    assert attention.q.conv.weight.abs().max() <= 1 / 3  # torch's bound, 1 / sqrt(fan in)
    assert backbone.class_tokens["2"].std().item() == pytest.approx(0.02, rel=0.5)


def test_class_tokens_do_not_decay_and_stand_with_their_embedding():
    backbone = model()
    assert backbone.no_weight_decay() == {"class_tokens.2"}
    groups = backbone.layers()
    assert [len(group) for group in groups] == [1, 1, 1, 1, 1, 2, 1, 1, 1]
    listed = [p for group in groups for module in group for p in module.parameters()]
    assert len(listed) == len(set(listed)) == len(list(backbone.parameters()))


@pytest.mark.parametrize(("name", "millions"), {"cvt_13": 19.997, "cvt_21": 31.623, "cvt_w24": 277.196}.items())
def test_parameters_are_those_of_the_official_code(name, millions):
    with torch.device("meta"):
        backbone = CvT(VARIANTS[name])
    last = backbone.channels[-1]
    head = 2 * last + 1000 * last + 1000
    assert (sum(p.numel() for p in backbone.parameters()) + head) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "side", "giga"),
    [
        ("cvt_13", 224, 4.57),
        ("cvt_13", 384, 16.27),
        ("cvt_21", 224, 7.18),
        ("cvt_21", 384, 24.85),
        ("cvt_w24", 224, 60.9),
        ("cvt_w24", 384, 194.2),
    ],
)
def test_multiply_adds_are_those_of_the_official_code(name, side, giga):
    with torch.device("meta"):
        backbone, x = CvT(VARIANTS[name]).eval(), torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(x)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.005)


def test_an_attention_backend_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="choose one of auto, reference"):
        CvT(TINY).set_attention("flash")


def test_a_clip_is_refused():
    with pytest.raises(UserError, match=r"needs \(B, 3, H, W\)"):
        CvT(TINY)(torch.zeros(1, 3, 4, 32, 32))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": (1, 2)}, "heads .* one entry a stage"),
        ({"heads": (1, 3, 4)}, "stage 1 has 16 channels, which 3 heads do not divide"),
        ({"dims": ()}, "one entry a stage, 3 as in embed_kernel"),
        ({"dims": 64}, "one entry a stage"),
        ({"dims": (8, 16, 1 << 30)}, "65,536 in all"),
        ({"depths": (1, 1, 1 << 30)}, "1,000 in all"),
        ({"depths": (1, 0, 1)}, "from 1 to 1,000"),
        ({"kernel": (3, 4, 3)}, "odd"),
        ({"kernel": (3, 3, 1 << 20)}, "64 in all"),
        ({"embed_padding": (7, 1, 1)}, "less than the embed_kernel"),
        ({"embed_stride": (4, 2, True)}, "each a whole number"),
        ({"mlp_ratio": (4, 4, float("nan"))}, "each a number from 0"),
        ({"mlp_ratio": (4, 4, 1e4)}, "needs 1 to 65,536 hidden"),
        ({"mlp_ratio": (4, 4, "4")}, "each a number"),
        ({"projection": ("dw_bn", "dw_bn", "dwbn")}, "dw_bn"),
        ({"class_token": (0, 0, 1)}, "True or False"),
        ({"in_chans": 0}, "in_chans"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        CvT(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_pooling_is_that_of_pytorch_with_sizes_rounded_up(kernel, stride):
    for size in [(14, 14), (9, 12), (1, 1), (2, 7), (8, 5)]:
        x = torch.randn(2, 3, *size, dtype=torch.float64)
        expected = F.avg_pool2d(x, kernel, stride, kernel // 2, ceil_mode=True)
        torch.testing.assert_close(pool_rounding_up(x, kernel, stride), expected)
