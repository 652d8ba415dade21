import dataclasses

import pytest
import torch
import torch.nn.functional as F

from muntin.errors import UserError
from muntin.heads import TokenReadout
from muntin.models.vit_hybrid import VARIANTS, HybridViT, HybridViTConfig, StdConv, pad_same
from muntin.tasks import Classifier

TINY = HybridViTConfig(dim=16, depth=2, heads=2, grid=(4, 4), stem=(1, 2), stem_width=32)

PARAMETERS = {  # with 1000 classes, counted in the official code
    "vit_r_tiny_patch16": 6_337_704,
    "vit_r26_small_patch32": 36_431_912,
    "vit_r26_base_patch32": 101_383_976,
    "vit_r50_base_patch16": 98_659_112,
    "vit_r50_large_patch32": 328_994_856,
}
STRIDES = {"vit_r_tiny_patch16": 32, "vit_r50_base_patch16": 16}  # the others 32


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_variants_have_their_parameters_and_strides(name):
    with torch.device("meta"):
        model = Classifier(HybridViT(VARIANTS[name]), 1000, TokenReadout)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    stride = STRIDES.get(name, 32)
    assert model.backbone.strides == ((stride, stride),)
    assert model.backbone.config.grid == (224 // stride, 224 // stride)


def test_kernels_are_standardised_by_their_population_deviation_plus_epsilon():
    torch.manual_seed(0)
    conv, x = StdConv(3, 4, 3).double(), torch.randn(1, 3, 5, 6).double()
    kernels = []
    for kernel in conv.weight.detach():
        variance = ((kernel - kernel.mean()) ** 2).mean()
        kernels.append((kernel - kernel.mean()) / (variance.sqrt() + 1e-5))
    torch.testing.assert_close(conv(x).detach(), F.conv2d(x, torch.stack(kernels), padding=1))


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "expected"),
    [(6, 7, 2, (2, 3)), (7, 7, 2, (3, 3)), (6, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (6, 3, 1, (1, 1)), (7, 1, 2, (0, 0))],
)
def test_the_odd_cell_of_padding_is_at_the_far_end(side, kernel, stride, expected):
    ones = torch.ones(1, 1, side, 4)
    padded = pad_same(ones, (kernel, 1), (stride, 1))[0, 0, :, 0]
    before, after = expected
    assert padded.tolist() == [0] * before + [1] * side + [0] * after


@pytest.mark.parametrize("size", [(64, 64), (70, 54), (33, 40), (1, 9)])
def test_any_size_works_and_partial_cells_count(size):
    model = HybridViT(TINY).eval()
    level = model(torch.randn(1, 3, *size)).levels[0]
    assert level.shape == (1, 16, -(-size[0] // 8), -(-size[1] // 8))
    assert level.isfinite().all()


def test_a_bottleneck_starts_as_its_shortcut():
    model = HybridViT(TINY)
    unit, x = model.stem.stages[1][1], torch.rand(1, 256, 4, 4)
    assert torch.equal(unit(x), x)


def test_the_stem_has_the_depth_of_the_embedding():
    model = HybridViT(TINY)
    listed = [p for group in model.layers() for module in group for p in module.parameters()]
    assert len(listed) == len(set(listed)) == len(list(model.parameters()))
    assert model.layers()[0][0] is model.stem


def test_the_root_alone_is_a_stem():
    model = HybridViT(dataclasses.replace(TINY, stem=(), patch=(2, 2))).eval()
    assert model(torch.randn(1, 3, 32, 48)).levels[0].shape == (1, 16, 4, 6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stem": 3}, "stem is 3; it must be a tuple"),
        ({"stem": (1, 0)}, "from 1 to 1,000"),
        ({"stem": (1, 1 << 30)}, "1,000 in all"),
        ({"stem": (1,) * 20}, "0 to 8"),
        ({"stem": (1,) * 8, "stem_width": 1024}, "small enough for 8 stages"),
        ({"stem_width": 48}, "a multiple of 32"),
        ({"stem_width": True}, "stem_width is True; it must be a whole number"),
        ({"heads": 3}, "which 3 heads do not divide"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        HybridViT(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize(
    ("size", "sentence"), [((1, 1, 64, 64), "built for 3"), ((3, 64, 64), "needs \\(B, 3, H, W\\)")]
)
def test_pictures_that_do_not_fit_are_refused(size, sentence):
    with pytest.raises(UserError, match=sentence):
        HybridViT(TINY)(torch.zeros(size))
