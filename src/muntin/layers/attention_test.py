import pytest
import torch
from torch import nn

from muntin.layers.attention import Attention, CrossAttention, QueryValueBias, WindowAttention
from muntin.layers.position import TableBias
from muntin.ops.windows import gather_bias, keep_window, relative_position_index, shrink_to_shorter_side

HEADS, DIM = 2, 6


def attention(window=(3, 4), shift=(1, 2), small_map=keep_window) -> WindowAttention:
    torch.manual_seed(0)
    module = WindowAttention(
        nn.Linear(DIM, 3 * DIM),
        TableBias(window, HEADS),
        dim=DIM,
        heads=HEADS,
        window=window,
        shift=shift,
        small_map=small_map,
    ).double()
    nn.init.normal_(module.position.table)
    return module


def test_padded_cells_are_keys_whose_content_is_the_bias_of_the_projection():
    """As if zero tokens stood beyond the map, which is how the official dense backbone does it."""
    module, x = attention(shift=(0, 0)), torch.randn(1, 5, 7, DIM).double()
    padded = torch.nn.functional.pad(x, (0, 0, 0, 1, 0, 1))
    torch.testing.assert_close(module(x), module(padded)[:, :5, :7])


def test_the_small_map_rule_shrinks_window_and_drops_shift():
    x = torch.randn(1, 2, 9, DIM).double()
    shrunk, small = attention(small_map=shrink_to_shorter_side), attention(window=(2, 2), shift=(0, 0))
    small.load_state_dict(shrunk.state_dict() | {"position.table": shrunk.position((2, 2))[0]})
    torch.testing.assert_close(shrunk(x), small(x))
    assert not torch.allclose(attention()(x), small(x))


def test_the_position_bias_is_the_gathered_table():
    module = attention()
    assert torch.equal(
        module.position_bias(),
        gather_bias(module.position.table, relative_position_index((3, 4), module.qkv.weight.device)),
    )
    assert module.position_bias((2, 2)).shape == (HEADS, 4, 4)


@pytest.mark.parametrize("shift", [(0, 0), (1, 2)])
@pytest.mark.parametrize("cell", [(0, 0), (4, 6), (2, 3)])
def test_an_attention_map_says_which_cells_make_a_token(shift, cell):
    """Weighting every cell's value by the map gives the attention's output at the query; nothing else has a part."""
    module, x = attention(shift=shift), torch.randn(1, 6, 8, DIM).double()
    paid = module.attention_map(x, cell)
    assert paid.shape == (1, HEADS, 6, 8)
    torch.testing.assert_close(paid.sum((-2, -1)), torch.ones(1, HEADS).double())
    v = module.qkv(x).unflatten(-1, (3, HEADS, -1))[0, :, :, 2]  # (H, W, h, D)
    mixed = torch.einsum("hyx,yxhd->hd", paid[0], v).flatten()
    torch.testing.assert_close(module.proj(mixed), module(x)[(0, *cell)])


def test_an_attention_map_stays_in_its_window():
    assert (
        int((attention(shift=(0, 0)).attention_map(torch.randn(1, 6, 8, DIM).double(), (4, 5)) > 0).sum()) == HEADS * 12
    )


# --- all tokens with all ---


def plain(heads: int = 2, dim: int = 6) -> Attention:
    torch.manual_seed(0)
    return Attention(nn.Linear(dim, 3 * dim), dim=dim, heads=heads).double()


@pytest.mark.parametrize("backend", ["auto", "reference", "sdpa"])
@pytest.mark.parametrize("biased", [False, True])
def test_every_token_is_a_weighted_mean_of_all_values(backend, biased):
    module, x = plain(), torch.randn(2, 5, 6).double()
    module.backend = backend
    bias = torch.randn(2, 5, 5).double() if biased else None
    q, k, v = module.qkv(x).reshape(2, 5, 3, 2, 3).permute(2, 0, 3, 1, 4)
    logits = q @ k.mT / 3**0.5 + (bias if biased else 0)
    mixed = (logits.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(2, 5, 6)
    torch.testing.assert_close(module(x, bias), module.proj(mixed))
    shown = module.attention_map(x, 3, bias)
    torch.testing.assert_close(shown, logits.softmax(-1)[:, :, 3].detach())


@pytest.mark.parametrize("biased", [False, True])
def test_every_token_is_a_weighted_mean_of_the_values_of_another_sequence(biased):
    torch.manual_seed(0)
    maps = nn.Linear(5, 8), nn.Linear(7, 16), nn.Linear(8, 5)  # two heads of 4 channels, from widths of 5 and 7
    module, x, other = (
        CrossAttention(*maps, heads=2).double(),
        torch.randn(2, 3, 5).double(),
        torch.randn(2, 4, 7).double(),
    )
    bias = torch.randn(2, 1, 1, 4).double() if biased else None
    q = module.q(x).reshape(2, 3, 2, 4).transpose(1, 2)
    k, v = (t.reshape(2, 4, 2, 4).transpose(1, 2) for t in module.kv(other).chunk(2, -1))
    weights = (q @ k.mT / 2 + (bias if biased else 0)).softmax(-1)
    torch.testing.assert_close(module(x, other, bias), module.proj((weights @ v).transpose(1, 2).reshape(2, 3, 8)))


def test_queries_and_values_have_a_bias_and_keys_have_none():
    qkv = QueryValueBias(4)
    nn.init.normal_(qkv.weight)
    nn.init.ones_(qkv.q_bias)
    nn.init.constant_(qkv.v_bias, 2.0)
    x = torch.randn(3, 4)
    expected = x @ qkv.weight.T + torch.tensor([1.0] * 4 + [0.0] * 4 + [2.0] * 4)
    torch.testing.assert_close(qkv(x), expected)
