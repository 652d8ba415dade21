"""The same networks from muntin and its peers, and what each of them is asked to do.

Everybody starts with fresh weights, no drop path, norms at 1 and 0 (Swin V2 otherwise starts with silent branches) and
standard memory format. timm and transformers can compute the attention of Swin V1 with or without PyTorch's fused
kernel, and which is faster depends on the work: both are measured, and the better one counts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from timing import Job
from torch import Tensor, nn

from muntin.data import vision

PEERS = ("timm", "torchvision", "transformers")
LIBRARIES = ("muntin", *PEERS)


class Network(NamedTuple):
    """One network under the names that its peers give it."""

    title: str
    side: int  # pixels
    muntin: str
    timm: str
    torchvision: str
    window: int
    second_version: bool


SWIN_TINY = Network("Swin-T 224", 224, "swin_tiny", "swin_tiny_patch4_window7_224", "swin_t", 7, False)
SWIN_V2_TINY = Network("Swin V2-T 256", 256, "swin_v2_tiny_window8", "swinv2_tiny_window8_256", "swin_v2_t", 8, True)
NETWORKS = (SWIN_TINY, SWIN_V2_TINY)


def contenders(network: Network) -> list[tuple[str, str]]:
    """(library, attention) of everybody who takes part; attention is "" where a library has one way only."""
    modes = [""] if network.second_version else ["fused", "plain"]
    return [(name, mode) for name in LIBRARIES for mode in (modes if name in ("timm", "transformers") else [""])]


def build(network: Network, library: str, attention: str = "") -> nn.Module:
    """A classifier of 1000 classes, images -> logits."""
    vision.functional()  # timm and torchvision itself import it, also beside a torch it was not compiled for
    build_one = {"muntin": _muntin, "timm": _timm, "torchvision": _torchvision, "transformers": _transformers}[library]
    model = build_one(network, attention)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    return model


def _muntin(network: Network, attention: str) -> nn.Module:
    from muntin import create_model

    return create_model(network.muntin)


def _timm(network: Network, attention: str) -> nn.Module:
    import timm
    from timm.layers import set_fused_attn

    set_fused_attn(True, experimental=attention == "fused")  # Swin counts as experimental there: off unless asked for
    return timm.create_model(network.timm, drop_path_rate=0.0)


def _torchvision(network: Network, attention: str) -> nn.Module:
    from torchvision import models, ops

    model = getattr(models, network.torchvision)()
    for module in model.modules():
        if isinstance(module, ops.StochasticDepth):
            module.p = 0.0
    return model


def _transformers(network: Network, attention: str) -> nn.Module:
    from transformers import SwinConfig, SwinForImageClassification, Swinv2Config, Swinv2ForImageClassification

    sizes = {"image_size": network.side, "window_size": network.window, "drop_path_rate": 0.0, "num_labels": 1000}
    if network.second_version:
        return _Logits(Swinv2ForImageClassification(Swinv2Config(**sizes)))
    config = SwinConfig(**sizes, attn_implementation="sdpa" if attention == "fused" else "eager")
    return _Logits(SwinForImageClassification(config))


class _Logits(nn.Module):
    """transformers answers with a record; everybody else with the logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


def inference(model: nn.Module, images: Tensor) -> Job:
    """Images of the model's own type -> logits, in eval and inference mode."""
    model.eval()

    @torch.inference_mode()
    def run() -> Tensor:
        return model(images)

    return run


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Job:
    """Forward and cross-entropy under bf16 autocast, backward, a step of AdamW; weights and images stay fp32."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)

    def run() -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            logits = model(images)
            loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return logits.detach()

    return run


def check(name: str, logits: object, batch: int) -> None:
    """Stop with a sentence when a contender's answer is not a finite (batch, 1000)."""
    if not isinstance(logits, Tensor) or logits.shape != (batch, 1000):
        raise SystemExit(
            f"{name} answered with {getattr(logits, 'shape', type(logits))}, not with ({batch}, 1000) logits"
        )
    if not logits.isfinite().all():
        raise SystemExit(f"{name} answered with numbers that are not finite")
