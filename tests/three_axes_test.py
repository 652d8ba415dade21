"""What is made for N axes is right on three: a scratch Video Swin (`scratch_video_swin.py`) through the rooms.

Its numbers are torchvision's, see `peers/video_swin_test.py`. What works on pictures alone says so in a sentence.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muntin.catalog.cost import count_multiply_adds
from muntin.data import Batch
from muntin.errors import UserError
from muntin.layers.position import GridEmbedding
from muntin.models import SwinV2, SwinV2Config, ViT, ViTConfig
from muntin.models.swin import effective_windows
from muntin.ops.fast.window_attention import BACKENDS
from muntin.report import inside_the_model as lens
from muntin.report.page import Page
from muntin.report.sections import attention, position_bias
from muntin.tasks import MaskGenerator, SimMIM

from .scratch_video_swin import VideoSwin, VideoSwinConfig

TINY = VideoSwinConfig(dim=8, depths=(2, 2), heads=(1, 2), window=(4, 3, 3))


def clip(*size: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def perturbed(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def test_strides_and_windows_are_true_in_time():
    config = VideoSwinConfig()
    assert VideoSwin(TINY).strides == ((2, 4, 4), (2, 8, 8))
    assert effective_windows(config, (32, 224, 224)) == ((8, 7, 7),) * 4
    assert effective_windows(config, (8, 112, 64)) == ((4, 7, 7), (4, 7, 7), (4, 7, 4), (4, 4, 2))


def test_multiply_adds_are_the_papers():
    with torch.device("meta"):
        model = VideoSwin(VideoSwinConfig())
    assert count_multiply_adds(model, (3, 32, 224, 224)) / 1e9 == pytest.approx(88, rel=0.005)  # table 4, Swin-T


def test_every_attention_backend_gives_the_same_gradients():
    """Also those of a cropped index, which is no function of the offset."""
    model = perturbed(VideoSwin(TINY)).double()
    found: dict[str, dict[str, Tensor]] = {}
    for backend in BACKENDS:
        model.set_attention(backend)
        model.zero_grad()
        model(clip(6, 20, 28).double()).levels[-1].square().sum().backward()
        found[backend] = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    for backend in BACKENDS:
        torch.testing.assert_close(found[backend], found["reference"], rtol=1e-9, atol=1e-9)


def test_a_smaller_window_reads_the_crop_of_the_full_index():
    [[first, *_], *_] = VideoSwin(TINY).attentions()
    (table, index), (full_table, full) = first.position((2, 3, 2)), first.position((4, 3, 3))
    assert table is full_table
    assert torch.equal(index, full[:12, :12])


def test_log_cpb_has_a_coordinate_an_axis():
    """A tube of one frame is a picture: the offsets in time are all 0, and so is what their weights do."""
    small = {"dim": 8, "depths": (2,), "heads": (2,), "small_map": "keep"}
    clips = perturbed(SwinV2(SwinV2Config(**small, patch=(1, 4, 4), window=(1, 4, 4))))
    pictures = SwinV2(SwinV2Config(**small, window=(4, 4))).eval()
    state = clips.state_dict()
    for name, tensor in state.items():
        if name.endswith("position.fc1.weight"):
            state[name] = tensor[:, 1:]
        elif name == "patch_embed.proj.weight":
            state[name] = tensor[:, :, 0]
    pictures.load_state_dict(state)
    x = clip(1, 32, 40)
    torch.testing.assert_close(clips(x).levels[0], pictures(x[:, :, 0]).levels[0][:, :, None])


def test_simmim_paints_masked_tubes():
    task = perturbed(SimMIM(VideoSwin(TINY)))
    masks = MaskGenerator((4, 32, 48), (2, 16, 16), (2, 4, 4), 0.5)
    rng = np.random.default_rng(0)
    image, mask = clip(4, 32, 48, batch=2), torch.stack([masks(rng), masks(rng)])
    assert mask.shape == (2, 2, 8, 12)
    cells = mask.reshape(2, 2, 2, 4, 3, 4).transpose(3, 4).flatten(4)
    assert torch.equal(cells.amin(-1), cells.amax(-1))  # whole cells
    painted = task.reconstruct(image, mask)
    assert painted.shape == image.shape
    first = task.decoder(task.encode(image, mask))[0, 0, 0, 1].view(3, 2, 8, 8)  # of the cell at (0, 0, 1)
    assert torch.equal(painted[0, :, :2, :8, 8:16], first)
    assert torch.equal(task.pixel_mask(mask)[:, 0, ::2, ::4, ::4], mask.float())
    batch = Batch({"image": image, "mask": mask}, {}, ["", ""], torch.arange(2), [])
    (loss,) = task.losses(batch).terms.values()
    loss.backward()
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_attention_and_bias_maps_have_all_axes():
    model = perturbed(VideoSwin(TINY))
    plain, shifted = lens.attention(model, clip(16, 24, 40)[0], cell=(5, 1, 7))
    assert (plain.cell, plain.window, plain.shift, plain.stride) == ((5, 1, 7), (4, 3, 3), (0, 0, 0), (2, 4, 4))
    assert shifted.shift == (2, 1, 1)
    assert plain.heads.shape == (1, 8, 6, 10)
    assert plain.seen == ((4, 8), (0, 3), (6, 9))
    assert int((plain.heads > 0).sum()) == 36
    torch.testing.assert_close(plain.heads.sum(), torch.tensor(1.0))
    bias = lens.position_bias(model)[0].heads
    assert bias.shape == (1, 7, 5, 5)
    assert bias[0, 3, 2, 3] == model.stages[0][0].mix.position_bias()[0, 0, 1]  # the key one column to the right


def test_what_works_on_pictures_alone_says_so():
    model = VideoSwin(TINY)
    maps = lens.attention(model, clip(8, 24, 24)[0])
    with pytest.raises(UserError, match="drawn over pictures; this model's grid has 3 axes"):
        attention(Page("clip"), None, maps)
    with pytest.raises(UserError, match="drawn as a picture; this model's windows have 3 axes"):
        position_bias(Page("clip"), lens.position_bias(model))
    with pytest.raises(UserError, match="normalised target is made for pictures"):
        SimMIM(model, normalised_target=47)
    with pytest.raises(UserError, match=r"patch is \(2, 16, 16\); it must be 2 whole numbers"):
        ViT(ViTConfig(patch=(2, 16, 16), grid=(8, 14, 14)))


def test_position_embeddings_are_resized_on_three_axes():
    for resample in ("bicubic", "bilinear_corners"):
        position = GridEmbedding((2, 3, 4), 5, resample)
        torch.nn.init.constant_(position.embedding, 1.5)
        torch.testing.assert_close(position(torch.zeros(1, 3, 5, 6, 5)), torch.full((1, 3, 5, 6, 5), 1.5))
    position = GridEmbedding((2, 3, 4), 5, "bicubic_antialias")
    with pytest.raises(UserError, match="bicubic_antialias resizes grids of two axes; this one has 3"):
        position(torch.zeros(1, 3, 5, 6, 5))
