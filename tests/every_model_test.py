"""The questions that every model must answer, each a function over a small config of every family."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from muntin import catalog
from muntin.ops.window_attention import BACKENDS
from muntin.saved import load_model, save_model
from muntin.tasks import Classifier, SimMIM

SMALL = {  # one line a family: a published name, and what makes it tiny
    "swin_tiny": {"dim": 16, "depths": (2, 2, 1), "heads": (1, 2, 4), "window": 4},
    "swin_v2_tiny_window8": {"dim": 16, "depths": (2, 2, 1), "heads": (1, 2, 4), "window": 4},
}
SIZES = [(64, 48), (37, 50), (16, 64), (9, 5), (4, 4)]  # pixels; the last ones are smaller than a window


@pytest.fixture(params=SMALL)
def name(request) -> str:
    return request.param


def classifier(name: str, seed: int = 0, **changes) -> Classifier:
    """A small model in eval mode, every parameter off its initial value (V2's blocks start as the identity)."""
    torch.manual_seed(seed)
    model = catalog.create_model(name, num_classes=5, **SMALL[name] | changes)
    return perturbed(model)


def perturbed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


TRACED = {"depths": (2, 1), "heads": (1, 2)}  # tracing costs seconds a block


def pictures(*size: int, batch: int = 2, channels: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("small_map", ["shrink", "keep"])
def test_any_size_works(name, size, small_map):
    model = classifier(name, small_map=small_map)
    levels = model.forward_features(pictures(*size)).levels
    for level, channels, stride in zip(levels, model.backbone.channels, model.backbone.strides):
        assert level.shape == (2, channels, *[-(-side // stride) for side in size])
    assert model(pictures(*size)).isfinite().all()


def test_a_picture_smaller_than_a_patch_is_refused(name):
    with pytest.raises(ValueError, match="smaller than one patch"):
        classifier(name)(pictures(3, 64))


@pytest.mark.parametrize("size", [(32, 48), (37, 50)])
def test_pictures_of_a_batch_do_not_see_each_other(name, size):
    model, x = classifier(name).double(), pictures(*size, batch=3).double()
    torch.testing.assert_close(model(x), torch.cat([model(picture[None]) for picture in x]), rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter(name):
    model = classifier(name, absolute_position=8).train()
    (model(pictures(37, 50)) * torch.arange(1.0, 6.0)).sum().backward()
    unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unreached


def test_gradients_reach_every_parameter_of_pretraining(name):
    task = perturbed(SimMIM(catalog.create_backbone(name, **SMALL[name])))
    mask = torch.zeros(2, 16, 8, dtype=torch.long).index_fill(1, torch.arange(5), 1)
    sum(task.losses({"image": pictures(64, 32), "mask": mask}).values()).backward()
    assert not [n for n, p in task.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_meta_build_equals_a_normal_build(name):
    normal = catalog.create_model(name, num_classes=5, **SMALL[name])
    with torch.device("meta"):
        meta = catalog.create_model(name, num_classes=5, **SMALL[name])
    assert shapes(meta) == shapes(normal)
    assert all(t.is_meta for t in itertools.chain(meta.parameters(), meta.buffers()))


def shapes(model: nn.Module) -> list:
    return [(key, tuple(tensor.shape), tensor.dtype) for key, tensor in model.state_dict().items()]


def test_saving_and_loading_gives_the_same_model(name, tmp_path):
    model, x = classifier(name, in_chans=2, absolute_position=(9, 13)), pictures(37, 50, channels=2)
    preprocess = {"image_size": [37, 50]}
    save_model(tmp_path, name, model, kind="classifier", classes=tuple("abcde"), preprocess=preprocess)
    saved = load_model(tmp_path)
    assert (saved.name, saved.classes, saved.preprocess) == (name, tuple("abcde"), preprocess)
    assert not saved.model.training
    assert torch.equal(saved.model(x), model(x))


def test_a_model_saved_with_another_window_comes_back_with_it(name, tmp_path):
    model, x = classifier(name), pictures(50, 37)
    model.backbone.set_window((5, 5))
    save_model(tmp_path, name, model, kind="classifier", classes=tuple("abcde"), preprocess={})
    assert torch.equal(load_model(tmp_path).model(x), model(x))


def test_layers_are_disjoint_and_cover_every_parameter(name):
    for model in (classifier(name, absolute_position=8), SimMIM(catalog.create_backbone(name, **SMALL[name]))):
        listed = [p for group in model.layers() for module in group for p in module.parameters()]
        assert len(listed) == len(set(listed)), "a parameter is in two layers"
        names = {n for n, p in model.named_parameters() if p not in set(listed)}
        assert names <= {"mask_token"}, f"in no layer: {names}"


def test_layers_are_in_forward_order(name):
    model, ran = classifier(name, absolute_position=8), []
    for depth, group in enumerate(model.layers()):
        for module in group:
            module.register_forward_hook(lambda *_, depth=depth: ran.append(depth))
    model(pictures(32, 48))
    assert ran == sorted(ran)
    assert set(ran) == set(range(len(model.layers())))


def test_eval_is_deterministic_and_without_drop_path(name):
    model, x = classifier(name, drop_path_rate=0.9), pictures(32, 48)
    plain = classifier(name, drop_path_rate=0.0)
    assert torch.equal(model(x), model(x))
    assert torch.equal(model(x), plain(x))
    model.train()
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(name, channels):
    assert classifier(name, in_chans=channels)(pictures(32, 48, channels=channels)).shape == (2, 5)
    with pytest.raises(ValueError, match=f"built for {channels}"):
        classifier(name, in_chans=channels)(pictures(32, 48))


def test_without_classes_a_model_gives_pooled_features(name):
    model = catalog.create_model(name, num_classes=0, **SMALL[name])
    assert model(pictures(32, 48)).shape == (2, model.backbone.channels[-1])


@pytest.mark.parametrize("small_map", ["shrink", "keep"])
def test_every_attention_backend_gives_the_same_values_and_gradients(name, small_map):
    model, x = classifier(name, small_map=small_map).double(), pictures(37, 50).double()
    results = {}
    for backend in BACKENDS:
        ran = copy.deepcopy(model)
        ran.backbone.set_attention(backend)
        logits = ran(x)
        logits.square().sum().backward()
        results[backend] = {"logits": logits.detach(), **{n: p.grad for n, p in ran.named_parameters()}}
    for backend in BACKENDS:
        torch.testing.assert_close(results[backend], results["reference"], rtol=1e-9, atol=1e-10)


def test_bf16_autocast_stays_near_fp32(name):
    model, x = classifier(name), pictures(64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x).float()
    full = model(x)
    assert (half - full).norm() < 0.05 * full.norm()  # bf16 carries 8 bits: 0.4 % an operation
    assert not torch.equal(half, full)


def test_training_under_autocast_gives_finite_gradients(name):
    model = classifier(name).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(pictures(37, 50)).float().square().sum()
    loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in model.parameters())


def test_export_at_a_fixed_size(name):
    model, x = classifier(name, **TRACED), pictures(37, 50)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)


def test_one_graph_is_enough_to_compile(name):
    model, x = classifier(name, **TRACED), pictures(37, 50)
    traced = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(traced(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled_equals_eager_in_values_and_gradients(name):
    model, x = classifier(name, **TRACED), pictures(37, 50)
    results = []
    for run in (model, torch.compile(model, fullgraph=True)):
        model.zero_grad()
        logits = run(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)


# --- what is published about each name -------------------------------------------------------------------------------

PARAMETERS = {  # with 1000 classes: result tables of the papers, counted exactly by the official code
    "swin_tiny": 28_288_354,
    "swin_tiny_c24": 28_306_432,
    "swin_small": 49_606_258,
    "swin_base": 87_768_224,
    "swin_base_window12": 87_903_584,
    "swin_large": 196_532_476,
    "swin_large_window12": 196_735_516,
    "swin_v2_tiny_*": 28_347_154,
    "swin_v2_small_*": 49_728_418,
    "swin_v2_base_*": 87_918_816,
    "swin_v2_large_*": 196_739_932,
    "swin_v2_huge_*": 658_027_922,
    "swin_v2_giant_*": 1_060_976_996 + 3584 * 1000 + 1000,  # published without a head
    "swin_v2_g_*": 3_001_912_008,
}
GIGA_MULTIPLY_ADDS = {  # at the size of the published training; the official `flops()`
    "swin_tiny": 4.494,
    "swin_tiny_c24": 5.926,
    "swin_small": 8.747,
    "swin_base": 15.438,
    "swin_base_window12": 47.105,
    "swin_large": 34.487,
    "swin_large_window12": 103.952,
    "swin_v2_tiny_window8": 5.926,
    "swin_v2_tiny_window16": 6.605,
    "swin_v2_small_window8": 11.515,
    "swin_v2_small_window16": 12.647,
    "swin_v2_base_window8": 20.286,
    "swin_v2_base_window16": 21.796,
    "swin_v2_base_window12to16": 21.796,
    "swin_v2_base_window12to24": 54.748,
    "swin_v2_large_window12to16": 47.491,
    "swin_v2_large_window12to24": 115.417,
    "swin_v2_huge_window12": 85.75,
    "swin_v2_g_window12": 370.7,
}


@pytest.mark.parametrize("published", catalog.list_models())
def test_every_published_variant_has_its_number_of_parameters(published):
    [expected] = [count for pattern, count in PARAMETERS.items() if published in catalog.list_models(pattern)]
    with torch.device("meta"):
        model = catalog.create_model(published)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("published", GIGA_MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(published):
    assert catalog.multiply_adds(published) / 1e9 == pytest.approx(GIGA_MULTIPLY_ADDS[published], rel=0.005)
