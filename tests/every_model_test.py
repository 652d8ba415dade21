"""The questions that every model must answer, each a function over a small model of every family, and over one that no
catalog knows (`pooling_model.py`).
"""

from __future__ import annotations

import copy
import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from muntin import catalog
from muntin.data import Batch
from muntin.layers.attention import PLAIN_BACKENDS
from muntin.models import Swin
from muntin.ops.fast.window_attention import BACKENDS
from muntin.tasks import Classification, Classifier, Distillation, SimMIM
from muntin.weights.create import create_backbone, create_model
from muntin.weights.folder import load_model, save_model
from muntin.weights.load import load_weights

from .pooling_model import PoolFormer, PoolFormerConfig


class Case(NamedTuple):
    """A model under test."""

    name: str  # of the catalog; "" for one that it does not know
    small: dict[str, Any]  # what makes it tiny
    least: int  # pixels of the smallest picture that it takes
    unread: str = "none"  # parameters that no readout asks for


SWIN = {"dim": 16, "depths": (2, 2, 1), "heads": (1, 2, 4), "window": 4}
CASES = {
    "swin": Case("swin_tiny", SWIN, 4),
    "swin with absolute position": Case("swin_tiny", {**SWIN, "absolute_position": 8}, 4),
    "swin v2": Case("swin_v2_tiny_window8", SWIN, 4),
    "vit": Case("vit_base_patch16", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3}, 8),
    "vit without class token": Case(
        "vit_base_patch16",
        {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3, "class_token": False, "readout": "gap"},
        8,
    ),
    "vit with representation": Case(
        "vit_base_patch16", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3, "representation": 12}, 8
    ),
    "vit hybrid": Case("vit_r_tiny_patch16", {**catalog.FAMILIES["vit_hybrid"].small, "patch": 2, "grid": 3}, 5),
    "deit": Case("deit_small", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3}, 8),
    "deit distilled": Case("deit_small_distilled", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3}, 8),
    "deit 3": Case("deit3_small", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3}, 8),
    "beit": Case("beit_base", {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "grid": 3}, 8),
    "convnext": Case("convnext_tiny", {"dims": (16, 32), "depths": (2, 1), "layer_scale": 0.1}, 8),
    "convnext isotropic": Case("convnext_iso_small", {"patch": 8, "dims": (16,), "depths": (2,)}, 8),
    "roadmap 00": Case("convnext_roadmap_00", {"depths": (1, 1), "width": 16}, 1),
    "roadmap 06": Case("convnext_roadmap_06", {"depths": (1, 1), "width": 16}, 4),
    "roadmap 13": Case("convnext_roadmap_13", {"depths": (1, 1), "width": 16}, 8),
    # the class token passes the convolutions by, and asks alone in the last block
    "cvt": Case("cvt_13", dict(catalog.FAMILIES["cvt"].small), 3, r"stages\.2\.1\.mix\.q\.(conv|bn)"),
    "cvt without class token": Case(
        "cvt_13",
        {**catalog.FAMILIES["cvt"].small, "class_token": (False,) * 3, "projection": ("avg", "dw_bn", "dw_bn")},
        3,
    ),
    "unregistered": Case("", {}, 8),
}
SIZES = [(64, 48), (37, 50), (16, 64), (9, 8), (9, 5), (4, 4)]  # pixels; the last are smaller than a window or a patch


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def backbone(case: Case, drop_path_rate: float = 0.0, **changes) -> nn.Module:
    if case.name:
        return create_backbone(case.name, drop_path_rate=drop_path_rate, **{**case.small, **changes})
    return PoolFormer(PoolFormerConfig(**changes), drop_path_rate)


def created(case: Case, classes: int = 5, drop_path_rate: float = 0.0, **changes) -> Classifier:
    if not case.name:
        return Classifier(backbone(case, drop_path_rate, **changes), classes)
    small = {**case.small, **changes}
    return create_model(case.name, num_classes=classes, drop_path_rate=drop_path_rate, **small)


def classifier(case: Case, seed: int = 0, **changes) -> Classifier:
    """A small model in eval mode, every parameter off its initial value (V2's blocks start as the identity)."""
    torch.manual_seed(seed)
    return perturbed(created(case, **changes))


def perturbed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def pictures(*size: int, batch: int = 2, channels: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


def both(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Everything that a model gives: of a distilled one in training mode the logits of both heads."""
    return torch.cat(output, -1) if isinstance(output, tuple) else output


@pytest.mark.parametrize("size", SIZES)
def test_any_size_works_or_is_refused_in_a_sentence(case, size):
    model = classifier(case)
    if min(size) < case.least:
        with pytest.raises(ValueError, match=r"picture of .* enlarge it to at least"):
            model(pictures(*size))
        return
    levels = model.forward_features(pictures(*size)).levels
    assert len(levels) == len(model.backbone.channels)
    for level, channels, strides in zip(levels, model.backbone.channels, model.backbone.strides):
        assert level.shape[:2] == (2, channels)
        for cells, side, stride in zip(level.shape[2:], size, strides, strict=True):
            assert side // stride <= cells <= -(-side // stride)  # rounded down or up
    assert model(pictures(*size)).shape == (2, 5)
    assert model(pictures(*size)).isfinite().all()


def test_a_picture_smaller_than_a_patch_is_refused(case):
    if case.least == 1:  # padded at every step, a ResNet takes any picture
        assert classifier(case)(pictures(1, 64)).shape == (2, 5)
        return
    with pytest.raises(ValueError, match="smaller than one patch"):
        classifier(case)(pictures(2, 64))


@pytest.mark.parametrize("size", [(32, 48), (37, 50)])
def test_pictures_of_a_batch_do_not_see_each_other(case, size):
    model, x = classifier(case).double(), pictures(*size, batch=3).double()
    torch.testing.assert_close(model(x), torch.cat([model(picture[None]) for picture in x]), rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter(case):
    model = classifier(case).train()
    logits = both(model(pictures(37, 50)))
    (logits * torch.arange(1.0, 1.0 + logits.shape[1])).sum().backward()
    assert not unreached(model, case)


def unreached(model: nn.Module, case: Case) -> list[str]:
    names = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    return [name for name in names if not re.search(case.unread, name)]


def test_gradients_reach_every_parameter_of_pretraining(case):
    task = perturbed(SimMIM(backbone(case)))
    rows, columns = task.backbone.embed(pictures(64, 32)).shape[1:-1]
    mask = torch.zeros(2, rows, columns, dtype=torch.long).index_fill(1, torch.arange(rows // 3), 1)
    sum(task.losses(Batch({"image": pictures(64, 32), "mask": mask}, {})).terms.values()).backward()
    # readouts alone read the tokens before the cells, and the last block's queries of them
    assert not [n for n in unreached(task, case) if "distillation_token" not in n]


def test_what_is_masked_changes_nothing_where_the_mask_token_stands(case):
    """Pre-training must not see through the mask. ConvNeXt and CvT embed with an overlap, or none: both mask tokens."""
    task, seen = perturbed(SimMIM(backbone(case))), pictures(64, 64, batch=1)
    rows, columns = task.backbone.embed(seen).shape[1:-1]
    mask = torch.ones(1, rows, columns, dtype=torch.long)
    assert torch.equal(task.encode(seen, mask), task.encode(pictures(64, 64, batch=1, seed=9), mask))


def test_a_meta_build_equals_a_normal_build(case):
    normal = created(case)
    with torch.device("meta"):
        meta = created(case)
    assert shapes(meta) == shapes(normal)
    assert all(t.is_meta for t in itertools.chain(meta.parameters(), meta.buffers()))


def test_initialise_fills_a_model_from_the_meta_device(case):
    torch.manual_seed(3)
    normal = created(case)
    with torch.device("meta"):
        meta = created(case)
    filled = meta.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in filled.parameters():
            parameter.fill_(torch.nan)
    torch.manual_seed(3)
    filled.initialise()
    for (name, ours), (_, theirs) in zip(filled.named_parameters(), normal.named_parameters(), strict=True):
        assert ours.isfinite().all(), f"{name} was left as it was"
        spreads = ours.std(correction=0), theirs.std(correction=0)  # of 16 numbers or more
        assert min(spreads) >= 0.4 * max(spreads), name


def shapes(model: nn.Module) -> list:
    return [(key, tuple(tensor.shape), tensor.dtype) for key, tensor in model.state_dict().items()]


def test_saving_and_loading_gives_the_same_model(case, tmp_path):
    model, x = classifier(case, in_chans=2), pictures(37, 50, channels=2)
    if not case.name:
        save_file(model.state_dict(), tmp_path / "mine.safetensors")
        again = created(case, in_chans=2).eval()
        load_weights(again, tmp_path / "mine.safetensors")
        assert torch.equal(again(x), model(x))
        return
    save_model(tmp_path, case.name, model, kind="classifier", classes=tuple("abcde"), inputs={})
    saved = load_model(tmp_path)
    assert (saved.name, saved.classes, saved.preprocess) == (case.name, tuple("abcde"), {})
    assert not saved.model.training
    assert torch.equal(saved.model(x), model(x))


def test_layers_are_disjoint_and_cover_every_parameter(case):
    for model in (classifier(case), SimMIM(backbone(case))):
        listed = [p for group in model.layers() for module in group for p in module.parameters()]
        assert len(listed) == len(set(listed)), "a parameter is in two layers"
        names = {n for n, p in model.named_parameters() if p not in set(listed)}
        assert names <= {"mask_token"}, f"in no layer: {names}"


def test_layers_are_in_forward_order(case):
    model, ran = classifier(case), []
    for depth, group in enumerate(model.layers()):
        for module in group:
            module.register_forward_hook(lambda *_, depth=depth: ran.append(depth))
    model(pictures(32, 48))
    assert ran == sorted(ran)
    assert set(ran) == set(range(len(model.layers())))


def test_eval_is_deterministic_and_without_drop_path(case):
    model, x = classifier(case, drop_path_rate=0.5), pictures(32, 48, batch=16)
    plain = classifier(case, drop_path_rate=0.0)
    assert torch.equal(model(x), model(x))
    assert torch.equal(model(x), plain(x))
    model.train()
    assert not torch.equal(both(model(x)), both(model(x)))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(case, channels):
    assert classifier(case, in_chans=channels)(pictures(32, 48, channels=channels)).shape == (2, 5)
    with pytest.raises(ValueError, match=f"built for {channels}"):
        classifier(case, in_chans=channels)(pictures(32, 48))


def test_without_classes_a_model_gives_the_vector_that_a_head_would_classify(case):
    model = classifier(case, classes=0)
    assert model(pictures(32, 48)).shape == (2, model.num_features)
    assert model.train()(pictures(32, 48)).shape == (2, model.num_features)


def test_a_new_head_may_begin_at_zero(case):
    model, x = classifier(case), pictures(32, 48)
    model.reset_classifier(7, scale=0.0)
    assert torch.equal(model(x), torch.zeros(2, 7))


def test_every_model_learns_from_any_other(case):
    """As a student of a model that no catalog knows, with its own head or heads."""
    student, teacher = classifier(case).train(), Classifier(PoolFormer(PoolFormerConfig()), 5)
    token = isinstance(student(pictures(32, 32)), tuple)
    task = Distillation(student, teacher, token=token)
    losses = task.losses(Batch({"image": pictures(32, 32)}, {"label": torch.tensor([1, 3])}))
    sum(losses.terms.values()).backward()
    assert not unreached(student, case)
    assert all(p.grad is None for p in teacher.parameters())


def test_a_plain_loss_trains_every_head(case):
    task = Classification(classifier(case).train())
    sum(task.losses(Batch({"image": pictures(32, 32)}, {"label": torch.tensor([1, 3])})).terms.values()).backward()
    assert not unreached(task, case)


def test_bf16_autocast_stays_near_fp32(case):
    model, x = classifier(case), pictures(64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x).float()
    full = model(x)
    assert (half - full).norm() < 0.05 * full.norm()  # bf16 carries 8 bits: 0.4 % an operation
    assert not torch.equal(half, full)


def test_training_under_autocast_gives_finite_gradients(case):
    model = classifier(case).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = both(model(pictures(37, 50))).float().square().sum()
    loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in model.parameters())


def test_export_at_a_fixed_size_for_batches_of_any(case):
    model, x = classifier(traced(case)), pictures(37, 50, batch=5)
    batch = torch.export.Dim("batch", max=64)
    exported = torch.export.export(model, (x[:3],), dynamic_shapes=({0: batch},)).module()
    for given in (x, x[:1]):
        torch.testing.assert_close(exported(given), model(given), rtol=1e-4, atol=1e-5)


def test_one_graph_is_enough_to_compile(case):
    model, x = classifier(traced(case)), pictures(37, 50)
    torch.compiler.reset()  # else the graphs of other models count against its limit
    graph = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(graph(x), model(x), rtol=1e-4, atol=1e-5)


def traced(case: Case) -> Case:
    """Fewer blocks: tracing costs seconds each."""
    fewer = {"depths": (2, 1), "heads": (1, 2)} if case.name.startswith("swin") else {}
    return case._replace(small={**case.small, **fewer})


@pytest.mark.slow
def test_compiled_equals_eager_in_values_and_gradients(case):
    model, x = classifier(traced(case)), pictures(37, 50)
    results = []
    torch.compiler.reset()
    for run in (model, torch.compile(model, fullgraph=True)):
        model.zero_grad()
        logits = run(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for found, expected in zip(*results, strict=True):  # convolutions sum many more numbers than linear maps
        largest = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * max(1.0, largest))


def test_every_family_is_asked():
    asked = {catalog.entry(case.name).family.backbone for case in CASES.values() if case.name}
    assert asked == {family.backbone for family in catalog.FAMILIES.values()}


def test_the_page_on_adding_a_model_shows_the_model_that_is_tested():
    page = Path(__file__).parents[1] / "docs" / "adding_a_model.md"
    code = (Path(__file__).parent / "pooling_model.py").read_text(encoding="utf-8")
    assert code[code.index("from __future__") :] in page.read_text(encoding="utf-8")


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("small_map", ["shrink", "keep"])
def test_every_attention_backend_gives_the_same_values_and_gradients(case, small_map):
    model, x = classifier(case), pictures(37, 50).double()
    if not hasattr(model.backbone, "set_attention"):
        return  # it has none
    changes = {"small_map": small_map} if isinstance(model.backbone, Swin) else {}
    backends = BACKENDS if isinstance(model.backbone, Swin) else PLAIN_BACKENDS
    model = classifier(case, **changes).double()
    results = {}
    for backend in backends:
        ran = copy.deepcopy(model)
        ran.backbone.set_attention(backend)
        logits = ran(x)
        logits.square().sum().backward()
        results[backend] = {"logits": logits.detach(), **{n: p.grad for n, p in ran.named_parameters()}}
    for backend in backends:
        torch.testing.assert_close(results[backend], results["reference"], rtol=1e-9, atol=1e-10)
    with pytest.raises(ValueError, match="unknown attention"):
        model.backbone.set_attention("fastest")


@pytest.mark.parametrize("case", [CASES["swin"], CASES["swin v2"]], ids=["swin", "swin v2"])
def test_a_model_saved_with_another_window_comes_back_with_it(case, tmp_path):
    model, x = classifier(case), pictures(50, 37)
    model.backbone.set_window((5, 5))
    save_model(tmp_path, case.name, model, kind="classifier", classes=tuple("abcde"), inputs={})
    assert torch.equal(load_model(tmp_path).model(x), model(x))
