"""The layers that language models are made of, from our parts: BERT's (Devlin et al., 2018, arXiv:1810.04805) and
ViLBERT's co-attention (Lu et al., 2019, arXiv:1908.02265, fig. 2b), beside those of transformers.

Outputs and all gradients are equal, with padding in both sequences. All parameters are random. LXMERT has ViLBERT's
co-attention with one width for all; its layers take other widths once their linear maps are replaced.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from muntin.layers.attention import PLAIN_BACKENDS, Attention, CrossAttention
from muntin.layers.blocks import Linear, Mlp, PostNormBlock
from muntin.layers.init import init_transformer
from muntin.models import Encoder
from muntin.ops.attention import key_bias

from .library import library, randomise

EPS = 1e-12  # of every norm, in both papers' code
TEXT, IMAGE, SHARED, HEADS = 24, 40, 32, 4  # channels of the two streams and of the attention between them
LENGTHS = {"text": ((7, 4), TEXT), "image": ((5, 3), IMAGE)}  # tokens of each sequence of a batch; the rest is padding


# --- our layers ------------------------------------------------------------------------------------------------------


class BertLayer(PostNormBlock):
    """Attention of a sequence to itself and an MLP, each with a norm of the sum: (B, N, C), bias -> (B, N, C)."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__(dim, Attention(Linear(dim, 3 * dim), dim=dim, heads=heads), Mlp(dim, hidden), EPS)


class CoAttention(nn.Module):
    """Two streams that attend to each other, both as they were before: (B, N, C), (B, M, C') -> the same shapes."""

    def __init__(self, text: int, image: int, shared: int, heads: int):
        super().__init__()
        self.text, self.image = self._half(text, image, shared, heads), self._half(image, text, shared, heads)

    def forward(self, text: Tensor, image: Tensor, text_bias: Tensor, image_bias: Tensor) -> tuple[Tensor, Tensor]:
        return self.text(text, image, image_bias), self.image(image, text, text_bias)

    @staticmethod
    def _half(dim: int, other: int, shared: int, heads: int) -> PostNormBlock:
        q, kv, proj = Linear(dim, shared), Linear(other, 2 * shared), Linear(shared, dim)
        return PostNormBlock(dim, CrossAttention(q, kv, proj, heads=heads), Mlp(dim, 2 * dim), EPS)


class TwoStreams(nn.Module):
    """A layer of its own for each stream, then one co-attention: what `muntin.models.Encoder` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.channels = None, {"text": TEXT, "image": IMAGE}
        self.alone = nn.ModuleDict({name: BertLayer(dim, HEADS, 2 * dim) for name, dim in self.channels.items()})
        self.together = CoAttention(TEXT, IMAGE, SHARED, HEADS)
        self.initialise()

    def forward(self, streams: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
        bias = {name: key_bias(mask) for name, mask in masks.items()}
        states = {name: layer(streams[name], bias[name]) for name, layer in self.alone.items()}
        text, image = self.together(states["text"], states["image"], bias["text"], bias["image"])
        return {"text": text, "image": image}

    def initialise(self) -> None:
        self.apply(init_transformer)

    def layers(self) -> list[list[nn.Module]]:
        return [list(self.alone.values()), [self.together]]


# --- theirs, with our numbers ----------------------------------------------------------------------------------------


def their_bert_layer(ours: BertLayer, dim: int, hidden: int) -> nn.Module:
    bert = library("transformers.models.bert.modeling_bert")
    config = bert.BertConfig(hidden_size=dim, num_attention_heads=HEADS, intermediate_size=hidden)
    config._attn_implementation = "eager"
    theirs = bert.BertLayer(config).eval()
    attention = theirs.attention.self
    copy(ours.mix.qkv, attention.query, attention.key, attention.value)
    copy_branches(ours, theirs.attention.output, theirs.intermediate, theirs.output)
    return theirs


class TheirCoAttention(nn.Module):
    """Half a co-attention of LXMERT's layers: the stream that asks, and what it asks."""

    def __init__(self, ours: PostNormBlock, dim: int, other: int):
        super().__init__()
        lxmert = library("transformers.models.lxmert.modeling_lxmert")
        config = lxmert.LxmertConfig(hidden_size=dim, num_attention_heads=HEADS, intermediate_size=2 * dim)
        self.cross, self.inner = lxmert.LxmertCrossAttentionLayer(config), lxmert.LxmertIntermediate(config)
        self.outer, attention = lxmert.LxmertOutput(config), self.cross.att
        attention.query, self.cross.output.dense = nn.Linear(dim, SHARED), nn.Linear(SHARED, dim)
        attention.key, attention.value = nn.Linear(other, SHARED), nn.Linear(other, SHARED)
        attention.attention_head_size, attention.head_size = SHARED // HEADS, SHARED
        copy(ours.mix.q, attention.query)
        copy(ours.mix.kv, attention.key, attention.value)
        copy_branches(ours, self.cross.output, self.inner, self.outer)

    def forward(self, x: Tensor, other: Tensor, bias: Tensor) -> Tensor:
        [x] = self.cross(x, other, bias)
        return self.outer(self.inner(x), x)


@torch.no_grad()
def copy(ours: nn.Module, *theirs: nn.Module) -> None:
    """The numbers of one of our layers to their layers, of which ours may be several in one."""
    for name, parameter in ours.named_parameters():
        for layer, part in zip(theirs, parameter.chunk(len(theirs)), strict=True):
            layer.get_parameter(name).copy_(part)


def copy_branches(ours: PostNormBlock, mixed: nn.Module, inner: nn.Module, outer: nn.Module) -> None:
    copy(ours.mix.proj, mixed.dense)
    copy(ours.norm1, mixed.LayerNorm)
    copy(ours.mlp.fc1, inner.dense)
    copy(ours.mlp.fc2, outer.dense)
    copy(ours.norm2, outer.LayerNorm)


# --- the questions ---------------------------------------------------------------------------------------------------


def sequences(name: str) -> tuple[Tensor, Tensor]:
    """Random tokens, and the mask of those that are no padding."""
    lengths, dim = LENGTHS[name]
    tokens = torch.randn(len(lengths), max(lengths), dim, generator=torch.Generator().manual_seed(dim))
    return tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def hidden(mask: Tensor) -> Tensor:
    """As transformers hides padding."""
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)[:, None, None]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert other.std() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def gradients(output: Tensor, mask: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Of a random direction of the states that are no padding."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((output * weights)[mask].sum(), inputs))


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_a_bert_layer_is_that_of_transformers(backend):
    ours = BertLayer(TEXT, HEADS, 4 * TEXT)
    randomise(ours, 0)
    ours.mix.backend = backend
    theirs, (tokens, mask) = their_bert_layer(ours, TEXT, 4 * TEXT), sequences("text")
    tokens.requires_grad_()
    out, expected = ours(tokens, key_bias(mask)), theirs(tokens, hidden(mask))
    assert_same([out], [expected])
    qkv = theirs.attention.self
    ours_at = (
        tokens,
        ours.mix.qkv.weight,
        ours.mix.proj.weight,
        ours.norm1.weight,
        ours.mlp.fc1.weight,
        ours.norm2.bias,
    )
    [d_tokens, *d_ours] = gradients(out, mask, *ours_at)
    theirs_at = (qkv.query.weight, qkv.key.weight, qkv.value.weight, theirs.attention.output.dense.weight)
    theirs_at += (theirs.attention.output.LayerNorm.weight, theirs.intermediate.dense.weight)
    [d_expected, *d_theirs] = gradients(expected, mask, tokens, *theirs_at, theirs.output.LayerNorm.bias)
    assert_same([d_tokens, *d_ours], [d_expected, torch.cat(d_theirs[:3]), *d_theirs[3:]])


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_a_co_attention_is_composed_of_lxmerts_layers(backend):
    ours = CoAttention(TEXT, IMAGE, SHARED, HEADS)
    randomise(ours, 0)
    (text, text_mask), (image, image_mask) = sequences("text"), sequences("image")
    inputs = text.requires_grad_(), image.requires_grad_()
    for half in (ours.text, ours.image):
        half.mix.backend = backend
    outputs = ours(*inputs, key_bias(text_mask), key_bias(image_mask))
    for out, half, mask, x, other, other_mask in (
        (outputs[0], ours.text, text_mask, text, image, image_mask),
        (outputs[1], ours.image, image_mask, image, text, text_mask),
    ):
        theirs = TheirCoAttention(half, x.shape[-1], other.shape[-1]).eval()
        expected, attention = theirs(x, other, hidden(other_mask)), theirs.cross.att
        assert_same([out], [expected])
        d_ours = gradients(out, mask, x, other, half.mix.q.weight, half.mix.kv.weight, half.mlp.fc2.weight)
        theirs_at = (attention.query.weight, attention.key.weight, attention.value.weight, theirs.outer.dense.weight)
        [d_x, d_other, d_q, d_k, d_v, d_fc2] = gradients(expected, mask, x, other, *theirs_at)
        assert_same(d_ours, [d_x, d_other, d_q, torch.cat((d_k, d_v)), d_fc2])


def test_padding_is_seen_by_no_stream():
    encoder: Encoder = TwoStreams().eval()
    streams, masks = {}, {}
    for name in LENGTHS:
        streams[name], masks[name] = sequences(name)
    states = encoder.forward(streams, masks)
    changed = {name: torch.where(masks[name][..., None], tokens, 100.0) for name, tokens in streams.items()}
    for name, again in encoder.forward(changed, masks).items():
        assert again.shape[-1] == encoder.channels[name]
        torch.testing.assert_close(again[masks[name]], states[name][masks[name]])


def test_the_layers_of_an_encoder_cover_every_parameter_once():
    encoder = TwoStreams()
    listed = [p for group in encoder.layers() for module in group for p in module.parameters()]
    assert len(listed) == len(set(listed)) == len(list(encoder.parameters()))
