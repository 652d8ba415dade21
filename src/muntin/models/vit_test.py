import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from muntin.data import Batch
from muntin.errors import UserError
from muntin.heads import PooledReadout, TokenReadout
from muntin.layers.attention import PLAIN_BACKENDS
from muntin.models.vit import VARIANTS, ViT, ViTConfig
from muntin.ops.resample import resize_grid
from muntin.tasks import Classifier, SimMIM

TINY = ViTConfig(patch=(4, 4), dim=16, depth=2, heads=2, grid=(5, 7))

PARAMETERS = {  # with 1000 classes, counted in the official code
    "vit_tiny_patch16": 5_717_416,
    "vit_small_patch16": 22_050_664,
    "vit_small_patch32": 22_878_952,
    "vit_base_patch8": 86_576_872,
    "vit_base_patch16": 86_567_656,
    "vit_base_patch32": 88_224_232,
    "vit_large_patch16": 304_326_632,
    "vit_large_patch32": 306_535_400,
    "vit_huge_patch14": 632_045_800,
    "vit_base_patch16_gap": 86_566_120,
}
GIGA_MULTIPLY_ADDS = {  # at 224 and 384 pixels
    "vit_tiny_patch16": (1.25, 4.68),
    "vit_small_patch16": (4.60, 15.49),
    "vit_small_patch32": (1.14, 3.44),
    "vit_base_patch8": (78.15, 294.0),
    "vit_base_patch16": (17.56, 55.48),
    "vit_base_patch32": (4.41, 13.04),
    "vit_large_patch16": (61.56, 191.1),
    "vit_large_patch32": (15.38, 45.28),
    "vit_huge_patch14": (167.3,),
}


def vit(**changes) -> ViT:
    torch.manual_seed(0)
    return ViT(dataclasses.replace(TINY, **changes)).eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_variants_have_their_number_of_parameters(name):
    with torch.device("meta"):
        model = Classifier(ViT(VARIANTS[name]), 1000, PooledReadout)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", GIGA_MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(name):
    for side, expected in zip((224, 384), GIGA_MULTIPLY_ADDS[name]):
        with torch.device("meta"), torch.no_grad():
            model, picture = Classifier(ViT(VARIANTS[name]), 1000, TokenReadout), torch.empty(1, 3, side, side)
            with FlopCounterMode(display=False) as counter:
                model(picture)
        assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.005)


def test_a_picture_becomes_a_sequence_with_the_class_token_first():
    model, x = vit(), torch.randn(2, 3, 20, 28)
    cells = model.embed(x) + model.position.embedding  # (2, 5, 7, 16)
    first = (model.prefix.class_token + model.prefix.position).expand(2, 1, 16)
    sequence = torch.cat((first, cells.flatten(1, 2)), 1)
    for block in model.blocks:
        sequence = block(sequence)
    features = model(x)
    torch.testing.assert_close(features.prefix, sequence[:, :1])
    torch.testing.assert_close(features.levels[0], sequence[:, 1:].mT.reshape(2, 16, 5, 7))


def test_a_block_is_the_papers_equations():
    model, x = vit(), torch.randn(2, 6, 16)
    block = model.blocks[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    y = F.layer_norm(x, (16,), block.norm1.weight, block.norm1.bias, 1e-6)
    q, k, v = F.linear(y, block.mix.qkv.weight, block.mix.qkv.bias).chunk(3, -1)
    heads = [(q[..., i], k[..., i], v[..., i]) for i in (slice(0, 8), slice(8, 16))]
    mixed = torch.cat([(q @ k.mT / math.sqrt(8)).softmax(-1) @ v for q, k, v in heads], -1)
    y = x + F.linear(mixed, block.mix.proj.weight, block.mix.proj.bias)
    hidden = block.mlp.fc1(F.layer_norm(y, (16,), block.norm2.weight, block.norm2.bias, 1e-6))
    gelu = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    torch.testing.assert_close(block(x), y + block.mlp.fc2(gelu))


def test_the_exact_gelu_is_a_choice():
    x, approximate, exact = torch.linspace(-3, 3, 16), vit().blocks[0].mlp, vit(gelu="erf").blocks[0].mlp
    assert torch.equal(approximate.activation(x), F.gelu(x, approximate="tanh"))
    assert torch.equal(exact.activation(x), F.gelu(x))


@pytest.mark.parametrize("size", [(20, 28), (64, 48), (37, 50), (4, 4), (7, 30)])
def test_any_size_works_and_leftover_pixels_are_not_seen(size):
    model, x = vit(), torch.randn(2, 3, *size)
    level = model(x).levels[0]
    assert level.shape == (2, 16, size[0] // 4, size[1] // 4)
    assert torch.equal(model(x[:, :, : size[0] // 4 * 4, : size[1] // 4 * 4]).levels[0], level)


@pytest.mark.parametrize("resample", ["bilinear_corners", "bicubic"])
def test_positions_are_resized_and_the_class_token_keeps_its_own(resample):
    model, tokens = vit(position_resample=resample), torch.randn(1, 3, 9, 16)
    other = vit(grid=(3, 9), position_resample=resample)
    other.load_state_dict(
        model.state_dict() | {"position.embedding": resize_grid(model.position.embedding, (3, 9), resample)}
    )
    torch.testing.assert_close(model.encode(tokens).levels[0], other.encode(tokens).levels[0])
    torch.testing.assert_close(model.encode(tokens).prefix, other.encode(tokens).prefix)


def test_without_a_class_token_there_is_neither_token_nor_position():
    model = vit(class_token=False, readout="gap")
    assert not list(model.prefix.parameters())
    assert model(torch.zeros(1, 3, 20, 28)).prefix is None


def test_layers_cover_every_parameter_once_in_order():
    model = vit()
    assert [len(group) for group in model.layers()] == [3, 1, 1]
    listed = [p for group in model.layers() for module in group for p in module.parameters()]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(model.parameters())
    assert model.prefix in model.layers()[0]


def test_tokens_and_positions_do_not_decay():
    assert vit().prefix.no_weight_decay() == {"class_token", "position"}


def test_attention_backends_agree():
    model, x = vit().double(), torch.randn(2, 3, 21, 30).double()
    results = []
    for backend in PLAIN_BACKENDS:
        model.set_attention(backend)
        assert {attention.backend for attention in model.attentions()[0]} == {backend}
        results.append(model(x).levels[0])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])
    with pytest.raises(UserError, match="choose one of auto, reference, sdpa"):
        model.set_attention("flash")


def test_it_computes_as_the_code_that_weights_come_from():
    model, exact, x = vit(), vit(gelu="erf", position_resample="bicubic"), torch.randn(1, 3, 12, 40)
    with torch.no_grad():
        for one, other in zip(model.parameters(), exact.parameters()):
            other.copy_(one.add_(0.1 * torch.randn_like(one)))
    told = model.adopt({"gelu": "erf", "position_resample": "bicubic", "heads": 2, "readout": "gap"})
    assert len(told) == 2
    assert model.config == exact.config
    assert torch.equal(model(x).levels[0], exact(x).levels[0])
    assert model.adopt({"gelu": "erf"}) == ()
    with pytest.raises(UserError, match="build it with heads=4"):
        model.adopt({"heads": 4})


def test_dropout_is_where_the_paper_says():
    model = ViT(TINY, dropout=1.0).train()  # every dropped branch and embedding is 0
    features = model(torch.randn(2, 3, 20, 28))
    assert not features.levels[0].any()
    assert not features.prefix.any()
    assert model.eval()(torch.randn(2, 3, 20, 28)).levels[0].any()


def test_drop_path_grows_with_depth():
    model = ViT(dataclasses.replace(TINY, depth=5), drop_path_rate=0.4)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_initialisation_follows_the_official_table():
    torch.manual_seed(0)
    model = ViT(ViTConfig(patch=(8, 8), dim=96, depth=1, heads=3, grid=(14, 14)))
    block = model.blocks[0]
    for weight in block.mix.qkv.weight.chunk(3):  # Xavier uniform on 96 -> 96, not on 96 -> 288
        assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / 192), rel=0.01)
    assert block.mlp.fc1.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 480), rel=0.01)
    assert 0 < block.mlp.fc1.bias.abs().max() < 1e-5
    assert not block.mix.qkv.bias.any()
    assert not block.mix.proj.bias.any()
    assert not model.prefix.class_token.any()
    assert model.position.embedding.std().item() == pytest.approx(0.02, rel=0.03)
    weight = model.patch_embed.proj.weight  # LeCun normal: variance 1 / (8 * 8 * 3)
    assert weight.std().item() == pytest.approx(192**-0.5, rel=0.03)
    assert weight.abs().max() <= 2 * 192**-0.5 / 0.8796
    assert not model.patch_embed.proj.bias.any()


def test_simmim_trains_it():
    task, image = SimMIM(vit()), torch.randn(2, 3, 20, 28)
    mask = torch.zeros(2, 5, 7, dtype=torch.long).index_fill(1, torch.arange(3), 1)
    sum(task.losses(Batch({"image": image, "mask": mask}, {})).terms.values()).backward()
    assert not [n for n, p in task.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": 3}, "16 channels, which 3 heads do not divide"),
        ({"heads": (2,)}, "heads is .* must be a whole number"),
        ({"depth": 1 << 30}, "from 1 to 1,000"),
        ({"dim": 1 << 30}, "from 1 to 65,536"),
        ({"in_chans": True}, "in_chans is True"),
        ({"patch": (0, 4)}, "patch is .* 2 whole numbers"),
        ({"patch": 4}, "patch is 4; it must be 2 whole numbers"),
        ({"grid": (5, 1 << 20)}, "grid is .* from 1 to 2,048"),
        ({"mlp_ratio": float("inf")}, "a number from 0 to 65,536"),
        ({"mlp_ratio": "4"}, "a number from 0 to 65,536"),
        ({"gelu": "tan"}, "unknown gelu 'tan'"),
        ({"gelu": ["tanh"]}, "unknown gelu"),
        ({"position_resample": "cubic"}, "unknown position_resample 'cubic'"),
        ({"readout": "mean"}, "unknown readout 'mean'"),
        ({"class_token": False}, "no token to read; set readout"),
        ({"class_token": 1}, "must be True or False"),
        ({"representation": -1}, "representation is -1"),
        ({"representation": 8, "readout": "mean_norm"}, "has no representation layer"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        ViT(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize(
    ("size", "sentence"), [((1, 3, 3, 20), "smaller than one patch of 4x4"), ((1, 1, 20, 28), "built for 3")]
)
def test_pictures_that_do_not_fit_are_refused(size, sentence):
    with pytest.raises(UserError, match=sentence):
        vit()(torch.zeros(size))
