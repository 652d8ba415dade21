import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from muntin.errors import UserError
from muntin.heads import DistilledReadout, TokenReadout
from muntin.models.deit import VARIANTS, DeiT, DeiT3, DeiT3Config, DeiTConfig
from muntin.tasks import Classifier

TINY = DeiTConfig(patch=(4, 4), dim=16, depth=2, heads=2, grid=(5, 7), distilled=True)
TINY_3 = DeiT3Config(patch=(4, 4), dim=16, depth=2, heads=2, grid=(5, 7))

PUBLISHED = {  # with 1000 classes: parameters, counted in the official code, and giga multiply-adds
    "deit_tiny": (5_717_416, 1.25),
    "deit_small": (22_050_664, 4.60),
    "deit_base": (86_567_656, 17.56),
    "deit_tiny_distilled": (5_910_800, 1.25),
    "deit_small_distilled": (22_436_432, 4.60),
    "deit_base_distilled": (87_338_192, 17.56),
    "deit_base_384": (86_859_496, 55.48),
    "deit_base_distilled_384": (87_630_032, 55.48),
}
DEIT3_MILLIONS = {  # as published, rounded
    "deit3_small": 22.0,
    "deit3_medium": 38.8,
    "deit3_base": 86.6,
    "deit3_large": 304.4,
    "deit3_huge": 632.1,
}


def classifier(name: str) -> Classifier:
    family = DeiT3 if name.startswith("deit3") else DeiT
    return Classifier(family(VARIANTS[name]), 1000, DistilledReadout if "distilled" in name else TokenReadout)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_variants_have_their_parameters_and_multiply_adds(name):
    (parameters, giga), side = PUBLISHED[name], 384 if "384" in name else 224
    with torch.device("meta"), torch.no_grad():
        model, picture = classifier(name).eval(), torch.empty(1, 3, side, side)
        with FlopCounterMode(display=False) as counter:
            model(picture)
    assert sum(p.numel() for p in model.parameters()) == parameters
    # one token more costs 0.5 % of a model of 197 tokens, and a second head; the table has the plain models
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.011 if "distilled" in name else 0.005)


@pytest.mark.parametrize("name", DEIT3_MILLIONS)
def test_deit3_has_its_published_parameters(name):
    with torch.device("meta"):
        model = classifier(name)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(DEIT3_MILLIONS[name], abs=0.06)


def test_the_distillation_token_is_second_and_has_a_position():
    model, x = DeiT(TINY).eval(), torch.randn(2, 3, 20, 28)
    cells = (model.embed(x) + model.position.embedding).flatten(1, 2)
    first = model.prefix.class_token + model.prefix.position[:1]
    second = model.prefix.distillation_token + model.prefix.position[1:]
    sequence = torch.cat((first.expand(2, 1, 16), second.expand(2, 1, 16), cells), 1)
    for block in model.blocks:
        sequence = block(sequence)
    torch.testing.assert_close(model(x).prefix, sequence[:, :2])


def test_training_gives_both_logits_and_evaluation_their_mean():
    torch.manual_seed(0)
    model, x = Classifier(DeiT(TINY), 3, DistilledReadout), torch.randn(2, 3, 20, 28)
    by_class, by_distillation = model.train()(x)
    assert not torch.equal(by_class, by_distillation)
    torch.testing.assert_close(model.eval()(x), (by_class + by_distillation) / 2)


def test_the_distillation_token_decays_as_in_the_official_code():
    assert DeiT(TINY).prefix.no_weight_decay() == {"class_token", "position"}


def test_a_plain_model_has_one_token_exact_gelu_and_bicubic_positions():
    model = DeiT(dataclasses.replace(TINY, distilled=False))
    assert model(torch.zeros(1, 3, 20, 28)).prefix.shape == (1, 1, 16)
    x = torch.linspace(-3, 3, 16)
    assert torch.equal(model.blocks[0].mlp.activation(x), F.gelu(x))
    assert model.position.resample == "bicubic"


def test_everything_starts_narrow():
    torch.manual_seed(0)
    model = DeiT(DeiTConfig(dim=192, depth=1, heads=3, distilled=True))
    block = model.blocks[0]
    for weight in (block.mix.qkv.weight, block.mlp.fc1.weight, model.position.embedding):
        assert weight.std().item() == pytest.approx(0.02, rel=0.03)
    for token in (*model.prefix.tokens(), model.prefix.position):
        assert token.std().item() == pytest.approx(0.02, rel=0.2)
    assert not block.mlp.fc1.bias.any()
    bound = (16 * 16 * 3) ** -0.5  # PyTorch's default for a convolution
    assert model.patch_embed.proj.weight.abs().max().item() == pytest.approx(bound, rel=0.01)


def test_deit3_scales_its_branches_and_gives_the_class_token_no_position():
    torch.manual_seed(0)
    model, x = DeiT3(TINY_3).eval(), torch.randn(2, 3, 20, 28)
    for block in model.blocks:
        torch.testing.assert_close(
            torch.cat((block.scale1.gamma, block.scale2.gamma)).detach(), torch.full((32,), 1e-4)
        )
    assert dict(model.prefix.named_parameters()).keys() == {"class_token"}
    with torch.no_grad():
        for block in model.blocks:
            block.scale1.gamma.copy_(torch.randn(16))
            block.scale2.gamma.zero_()
    cells = (model.embed(x) + model.position.embedding).flatten(1, 2)
    y = torch.cat((model.prefix.class_token.expand(2, 1, 16), cells), 1)
    for block in model.blocks:
        y = y + block.scale1.gamma * block.mix(block.norm1(y))
    torch.testing.assert_close(model(x).prefix, y[:, :1])


def test_deit3_drops_every_block_at_one_rate():
    rates = [block.drop_path.rate for block in DeiT3(TINY_3, drop_path_rate=0.3).blocks]
    assert rates == [0.3, 0.3]
    assert [block.drop_path.rate for block in DeiT(TINY, drop_path_rate=0.3).blocks] == [0.0, 0.3]


def test_layers_cover_every_parameter_once():
    for model in (DeiT(TINY), DeiT3(TINY_3)):
        listed = [p for group in model.layers() for module in group for p in module.parameters()]
        assert len(listed) == len(set(listed)) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"readout": "gap"}, "read from its two tokens"),
        ({"distilled": 1}, "must be True or False"),
        ({"class_token": False}, "no token to read"),
        ({"representation": 8}, "has no representation layer"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        DeiT(dataclasses.replace(TINY, **changes))
