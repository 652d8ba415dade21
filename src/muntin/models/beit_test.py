import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from muntin.data import Batch
from muntin.errors import UserError
from muntin.heads import MeanNormReadout
from muntin.layers.attention import PLAIN_BACKENDS
from muntin.models.beit import VARIANTS, BEiT, BEiTConfig, RelativeBias
from muntin.ops.resample import resize_bias_table
from muntin.ops.windows import gather_bias
from muntin.tasks import Classifier, SimMIM

TINY = BEiTConfig(patch=(4, 4), dim=16, depth=2, heads=2, grid=(3, 5))


def beit(**changes) -> BEiT:
    """A small model, every parameter off its initial value: the tables start at 0."""
    torch.manual_seed(0)
    model = BEiT(dataclasses.replace(TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_published_model_has_its_size():
    with torch.device("meta"), torch.no_grad():
        model = Classifier(BEiT(VARIANTS["beit_base"]), 1000, MeanNormReadout).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    # ViT-B/16 without positions (197 * 768) and key biases; with layer scale and 732 biases a head and block
    assert sum(p.numel() for p in model.parameters()) == 86_567_656 - 197 * 768 + 12 * (768 + 732 * 12)
    assert counter.get_total_flops() / 2e9 == pytest.approx(17.56, rel=0.005)


def test_the_bias_is_that_of_the_offset_and_the_last_rows_are_the_class_tokens():
    bias = RelativeBias((3, 5), heads=2)
    torch.nn.init.normal_(bias.table)
    found = gather_bias(*bias((3, 5)))
    assert found.shape == (2, 16, 16)
    rows = len(bias.table)
    assert rows == 5 * 9 + 3
    for i in range(16):
        for j in range(16):
            if i and j:
                (y, x), (v, u) = divmod(i - 1, 5), divmod(j - 1, 5)
                row = (y - v + 2) * 9 + (x - u + 4)
            else:
                row = rows - 1 if i == j else rows - 2 if j == 0 else rows - 3
            assert torch.equal(found[:, i, j], bias.table[row])


def test_on_another_grid_the_offsets_are_resized_and_the_last_rows_stay():
    bias, other = RelativeBias((3, 5), heads=2), RelativeBias((6, 4), heads=2)
    torch.nn.init.normal_(bias.table)
    resized = resize_bias_table(bias.table[:-3], (3, 5), (6, 4))
    with torch.no_grad():
        other.table.copy_(torch.cat((resized, bias.table[-3:])))
    torch.testing.assert_close(bias((6, 4)), other((6, 4)))


def test_a_block_is_pre_norm_with_scales_and_the_bias_of_its_grid():
    model, x = beit(), torch.randn(2, 16, 16)
    block = model.blocks[0]
    y = F.layer_norm(x, (16,), block.norm1.weight, block.norm1.bias, 1e-6)
    qkv_bias = torch.cat((block.mix.qkv.q_bias, torch.zeros(16), block.mix.qkv.v_bias))
    q, k, v = F.linear(y, block.mix.qkv.weight, qkv_bias).chunk(3, -1)
    bias, mixed = gather_bias(*block.bias((3, 5))), []
    for head, part in enumerate((slice(0, 8), slice(8, 16))):
        mixed.append((q[..., part] @ k[..., part].mT * 8**-0.5 + bias[head]).softmax(-1) @ v[..., part])
    y = x + block.scale1.gamma * block.mix.proj(torch.cat(mixed, -1))
    z = F.layer_norm(y, (16,), block.norm2.weight, block.norm2.bias, 1e-6)
    z = y + block.scale2.gamma * block.mlp.fc2(F.gelu(block.mlp.fc1(z)))
    torch.testing.assert_close(block(x, (3, 5)), z)


def test_a_shared_table_is_the_same_table_in_every_block():
    shared, own = beit(shared_bias=True), beit()
    state = {name: tensor for name, tensor in shared.state_dict().items() if not name.startswith("shared_bias")}
    tables = {f"blocks.{i}.bias.table": shared.shared_bias.table for i in range(2)}
    own.load_state_dict(state | tables)
    x = torch.randn(2, 3, 12, 20)
    torch.testing.assert_close(shared(x).levels[0], own(x).levels[0])
    torch.testing.assert_close(shared(x).prefix, own(x).prefix)


@pytest.mark.parametrize("size", [(12, 20), (37, 50), (4, 4), (7, 30)])
@pytest.mark.parametrize("shared_bias", [True, False])
def test_any_size_works(size, shared_bias):
    features = beit(shared_bias=shared_bias)(torch.randn(2, 3, *size))
    assert features.levels[0].shape == (2, 16, size[0] // 4, size[1] // 4)
    assert features.prefix.shape == (2, 1, 16)
    assert features.levels[0].isfinite().all()


def test_attention_backends_agree():
    model, x = beit().double(), torch.randn(2, 3, 21, 30).double()
    results = []
    for backend in PLAIN_BACKENDS:
        model.set_attention(backend)
        results.append(model(x).levels[0])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])


@pytest.mark.parametrize("shared_bias", [True, False])
def test_layers_cover_every_parameter_once(shared_bias):
    model = beit(shared_bias=shared_bias)
    listed = [p for group in model.layers() for module in group for p in module.parameters()]
    assert len(listed) == len(set(listed)) == len(list(model.parameters()))
    assert len(model.layers()) == 3


@pytest.mark.parametrize("shared_bias", [True, False])
def test_simmim_reaches_every_parameter(shared_bias):
    task = SimMIM(beit(shared_bias=shared_bias))
    mask = torch.zeros(2, 3, 5, dtype=torch.long).index_fill(1, torch.arange(2), 1)
    sum(task.losses(Batch({"image": torch.randn(2, 3, 12, 20), "mask": mask}, {})).terms.values()).backward()
    assert not [n for n, p in task.named_parameters() if p.grad is None or not p.grad.any()]


def test_later_blocks_start_smaller():
    torch.manual_seed(0)
    model = BEiT(BEiTConfig(dim=192, depth=2, heads=3))
    for n, block in enumerate(model.blocks, start=1):
        for last in (block.mix.proj, block.mlp.fc2):
            assert last.weight.std().item() == pytest.approx(0.02 / (2 * n) ** 0.5, rel=0.03)
        assert block.mix.qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert torch.equal(block.scale1.gamma, torch.full((192,), 0.1))
        assert not block.bias.table.any()
        assert not block.mix.qkv.bias.any()
    assert model.patch_embed.proj.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert model.prefix.class_token.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": 3}, "which 3 heads do not divide"),
        ({"grid": None}, "grid is None"),
        ({"readout": "max"}, "unknown readout 'max'"),
        ({"class_token": False}, "leave class_token at True"),
        ({"shared_bias": "yes"}, "must be True or False"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        BEiT(dataclasses.replace(TINY, **changes))
