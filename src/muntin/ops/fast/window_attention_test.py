import functools
import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from muntin.ops.attention import MAX_LOGIT_SCALE
from muntin.ops.fast import window_attention as boxwise
from muntin.ops.fast.window_attention import BACKENDS, choose_backend, fast_window_attention, window_classes
from muntin.ops.windows import (
    Windows,
    partition,
    relative_position_index,
    shift_mask,
    window_probabilities,
)


class Grid(NamedTuple):
    size: tuple[int, ...]
    window: tuple[int, ...]
    shift: tuple[int, ...]


GRIDS = {
    "plain": Grid((6, 4), (3, 2), (0, 0)),
    "shifted": Grid((6, 8), (3, 4), (1, 2)),
    "padded": Grid((5, 7), (3, 4), (0, 0)),
    "padded and shifted": Grid((5, 7), (3, 4), (1, 2)),
    "one axis shifted": Grid((4, 7), (2, 3), (0, 1)),
    "smaller than the window": Grid((2, 3), (4, 5), (2, 2)),
    "3-D": Grid((3, 4, 5), (2, 2, 3), (1, 1, 1)),
}
HEADS, D = 2, 3
CPU = torch.device("cpu")


def windows(grid: Grid) -> Windows:
    return Windows(grid.window, grid.shift, HEADS, D**-0.5)


def attention(grid: Grid, values: dict[str, torch.Tensor], backend: str) -> torch.Tensor:
    """The values and the index of every offset, as a position module gives it."""
    index = relative_position_index(grid.window, CPU)
    return fast_window_attention(**values, index=index, windows=windows(grid), backend=backend)


def inputs(grid: Grid, cosine: bool, dtype=torch.float64, batch: int = 2) -> dict[str, torch.Tensor]:
    """qkv, table, the bias of padding, and for the cosine one temperature within the clamp and one beyond."""
    random = torch.Generator().manual_seed(0)
    C = HEADS * D
    values = {
        "qkv": torch.randn(batch, *grid.size, 3 * C, generator=random, dtype=torch.float64),
        "table": torch.randn(math.prod(2 * w - 1 for w in grid.window), HEADS, generator=random, dtype=torch.float64),
        "qkv_bias": torch.randn(3 * C, generator=random, dtype=torch.float64),
    }
    if cosine:
        values["logit_scale"] = torch.tensor([2.0, 5.0], dtype=torch.float64).view(HEADS, 1, 1)
    return {key: value.to(dtype).requires_grad_() for key, value in values.items()}


def by_loops(grid: Grid, qkv, table, qkv_bias, logit_scale=None):
    """Window attention cell by cell, with nothing but indices."""
    B, C = qkv.shape[0], qkv.shape[-1] // 3
    size = [-(-s // w) * w for s, w in zip(grid.size, grid.window)]
    cells = list(itertools.product(*map(range, size)))
    rolled = {c: tuple((i - d) % s for i, d, s in zip(c, grid.shift, size)) for c in cells}
    window_of = {c: tuple(i // w for i, w in zip(rolled[c], grid.window)) for c in cells}
    region = {
        c: tuple(
            (i >= s - w) + (i >= s - d) if d else 0 for i, s, w, d in zip(rolled[c], size, grid.window, grid.shift)
        )
        for c in cells
    }
    offsets = list(itertools.product(*[range(-(w - 1), w) for w in grid.window]))
    row_of = {offset: row for row, offset in enumerate(offsets)}
    images = []
    for b in range(B):
        outputs = []
        for query in itertools.product(*map(range, grid.size)):
            keys = [c for c in cells if window_of[c] == window_of[query]]
            token = {c: qkv[(b, *c)] if all(i < s for i, s in zip(c, grid.size)) else qkv_bias for c in keys}
            rows = [row_of[tuple(i - j for i, j in zip(rolled[query], rolled[key]))] for key in keys]
            mask = torch.tensor([0.0 if region[key] == region[query] else -100.0 for key in keys], dtype=qkv.dtype)
            parts = torch.stack([token[key] for key in keys]).view(len(keys), 3, HEADS, D)
            for h in range(HEADS):
                q, k, v = token[query].view(3, HEADS, D)[0, h], parts[:, 1, h], parts[:, 2, h]
                if logit_scale is None:
                    logits = k @ q / math.sqrt(D)
                else:
                    cosine = (k / k.norm(dim=1, keepdim=True)) @ (q / q.norm())
                    logits = cosine * logit_scale[h].clamp(max=math.log(100)).exp().squeeze()
                outputs.append((logits + table[rows, h] + mask).softmax(0) @ v)
        images.append(torch.stack(outputs).view(*grid.size, C))
    return torch.stack(images)


def gradients(output: torch.Tensor, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).to(output.dtype).view(output.shape)
    found = torch.autograd.grad((output * weights).sum(), list(values.values()), allow_unused=True)
    return {key: torch.zeros_like(values[key]) if g is None else g for key, g in zip(values, found)}


@functools.cache
def expected(name: str, cosine: bool) -> dict[str, torch.Tensor]:
    values = inputs(GRIDS[name], cosine)
    output = by_loops(GRIDS[name], **values)
    return {"output": output.detach(), **gradients(output, values)}


def computed(grid: Grid, values: dict[str, torch.Tensor], backend: str) -> dict[str, torch.Tensor]:
    output = attention(grid, values, backend)
    return {"output": output.detach(), **gradients(output, values)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
@pytest.mark.parametrize("name", GRIDS)
def test_values_and_gradients_equal_a_plain_loop(name, cosine, backend):
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        found = computed(GRIDS[name], inputs(GRIDS[name], cosine, dtype), backend)
        for key, value in expected(name, cosine).items():
            largest = value.abs().max().clamp_min(1.0).item()
            torch.testing.assert_close(
                found[key].double(), value, rtol=0, atol=tolerance * largest, msg=lambda m, key=key: f"{key}: {m}"
            )


@pytest.mark.parametrize("chunk", [1, 12 * 12, 3 * 12 * 12])
@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
@pytest.mark.parametrize("backend", ["direct", "chunked"])
def test_the_size_of_a_chunk_changes_nothing(backend, cosine, chunk, monkeypatch):
    """Down to chunks smaller than one window, of which one is then computed at a time."""
    monkeypatch.setattr(boxwise, "CHUNK", chunk)
    found = computed(GRIDS["padded and shifted"], inputs(GRIDS["padded and shifted"], cosine), backend)
    torch.testing.assert_close(found, expected("padded and shifted", cosine), rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", ["direct", "chunked"])
@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
def test_the_gradient_written_by_hand_is_the_derivative(backend, cosine):
    grid = Grid((3, 4), (2, 3), (1, 1))
    values = inputs(grid, cosine, batch=1)

    def function(*tensors):
        named = dict(zip(values, tensors))
        return attention(grid, named, backend)

    assert torch.autograd.gradcheck(function, tuple(values.values()), fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_clamped_temperature_has_no_gradient(backend):
    found = computed(GRIDS["shifted"], inputs(GRIDS["shifted"], cosine=True), backend)["logit_scale"].flatten()
    assert MAX_LOGIT_SCALE < 5.0
    assert found[0] != 0
    assert found[1] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mask_is_hard_for_dot_products_and_soft_for_the_cosine(backend):
    """-100 hides a cell from the other side of the map, unless the cosine's temperature of 1/100 outweighs it."""
    token_0, token_1 = (1.0, -1.0, 5.0), (1.0, 1.0, 7.0)  # q, k, v: the query of 0 points to the key of 1
    qkv = torch.tensor([[[token_0, token_1]]])  # a map of one row and two cells, which only the shift brings together
    position = torch.zeros(3, 1), relative_position_index((1, 2), CPU)
    given = {"windows": Windows((1, 2), (0, 1), 1, 1.0), "backend": backend}
    dot = fast_window_attention(qkv, *position, **given)
    cosine = fast_window_attention(qkv, *position, logit_scale=torch.full((1, 1, 1), 5.0), **given)
    torch.testing.assert_close(dot[0, 0, 0, 0], torch.tensor(5.0))
    torch.testing.assert_close(cosine[0, 0, 0, 0], torch.tensor(7.0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
def test_bf16_input_gives_bf16_output_near_the_exact_one(backend, cosine):
    grid = GRIDS["padded and shifted"]
    values = {k: v.detach() for k, v in inputs(grid, cosine, torch.float32).items()}
    values["qkv"] = values["qkv"].bfloat16()
    found = attention(grid, values, backend)
    exact = expected("padded and shifted", cosine)["output"]
    assert found.dtype == torch.bfloat16
    # the cosine's logits reach 100, so that rounding q and k to 8 bits may turn single cells
    assert (found.double() - exact).abs().median() < 0.02


@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
def test_probabilities_are_those_of_the_attention(cosine):
    grid = GRIDS["plain"]
    values = inputs(grid, cosine)
    P = window_probabilities(**values, index=relative_position_index(grid.window, CPU), windows=windows(grid))
    assert P.shape == (2, 4, HEADS, 6, 6)
    v = values["qkv"][:, :3, :2].reshape(2, 6, 3, HEADS, D)[:, :, 2].transpose(1, 2)  # of the first window
    first = (P[:, 0] @ v).transpose(1, 2).reshape(2, 3, 2, HEADS * D)
    torch.testing.assert_close(first, expected("plain", cosine)["output"][:, :3, :2])


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation returns."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.largest = max(self.largest, tensor.numel())
        return result


@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
def test_chunked_never_holds_more_than_a_chunk_of_logits(cosine, monkeypatch):
    grid = Grid((32, 16), (16, 16), (8, 8))
    N, windows = 16 * 16, 2
    chunk = N * N
    monkeypatch.setattr(boxwise, "CHUNK", chunk)
    largest = {}
    for backend in ("reference", "chunked"):
        values = inputs(grid, cosine, torch.float32, batch=1)
        assert values["qkv"].numel() < chunk
        with LargestTensor() as seen:
            computed(grid, values, backend)
        largest[backend] = seen.largest
    assert largest["reference"] >= windows * HEADS * N * N
    assert largest["chunked"] <= chunk


def test_direct_keeps_the_logits_and_chunked_does_not():
    grid = Grid((16, 8), (8, 8), (0, 0))
    kept = {}
    for backend in ("direct", "chunked"):
        sizes = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t)
        values = inputs(grid, cosine=True, dtype=torch.float32)
        with hooks:
            attention(grid, values, backend)
        kept[backend] = sum(sizes)
    assert kept["direct"] - kept["chunked"] == 2 * 2 * HEADS * 64 * 64  # images, windows, heads, N x N


@pytest.mark.parametrize(
    ("device", "tokens", "chosen"),
    [("cpu", 49, "direct"), ("cpu", 1024, "chunked"), ("meta", 49, "sdpa"), ("meta", 1024, "chunked")],
)
def test_auto_keeps_p_on_the_cpu_only_and_never_for_large_windows(device, tokens, chosen):
    assert choose_backend(torch.empty(1, 1, 1, 3, device=device), tokens) == chosen


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch_stays_empty(backend):
    grid = Grid((6, 5), (3, 3), (1, 1))
    values = {"qkv": torch.empty(0, 6, 5, 24), "table": torch.zeros(25, HEADS)}
    assert attention(grid, values, backend).shape == (0, 6, 5, 8)


@pytest.mark.parametrize(
    ("size", "window", "shift"),
    [
        ((6, 8), (3, 4), (0, 0)),
        ((6, 8), (3, 4), (1, 2)),
        ((3, 8), (3, 4), (1, 2)),
        ((6, 8), (3, 4), (1, 0)),
        ((4, 6, 8), (2, 3, 4), (1, 1, 2)),
    ],
)
def test_window_classes_hold_every_cell_once_with_its_mask(size, window, shift):
    """Together the boxes are the rolled map's windows, each with the mask that `shift_mask` gives it."""
    number = torch.arange(math.prod(size)).view(size)
    rolled = number.roll([-d for d in shift], tuple(range(len(size))))
    wanted = {}
    for cells_of_window, mask in zip(
        partition(rolled[None, ..., None], window)[..., 0], shift_mask(size, window, shift)
    ):
        wanted[tuple(cells_of_window.tolist())] = mask
    found = {}
    for cls in window_classes(size, window, shift, CPU):
        box = number
        for axis, runs in enumerate(cls.spans):
            box = torch.cat([box.narrow(axis, start, length) for start, length in runs], axis)
        assert tuple(box.shape) == tuple(n * w for n, w in zip(cls.windows, window))
        for cells_of_window in partition(box[None, ..., None], window)[..., 0]:
            found[tuple(cells_of_window.tolist())] = cls.mask if cls.mask is not None else torch.zeros(())
    assert found.keys() == wanted.keys()
    for key, mask in wanted.items():
        assert torch.equal(found[key].expand_as(mask), mask)
