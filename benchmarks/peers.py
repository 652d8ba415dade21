"""The same networks from muntin and its peers, and what each of them is asked to do.

Everybody starts with fresh weights, no drop path, norms at 1 and 0 (Swin V2 otherwise starts with silent branches) and
standard memory format. timm and transformers can compute most attention with or without PyTorch's fused kernel, and
which is faster depends on the work: both are measured, and the better one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timing import Job
from torch import Tensor, nn

from muntin.data.transforms import vision

PEERS = ("timm", "torchvision", "transformers")
LIBRARIES = ("muntin", *PEERS)
Build = Callable[[], nn.Module]


class Network(NamedTuple):
    """One network, and who has it."""

    title: str
    side: int  # pixels
    contenders: dict[str, Build]  # by library, with the way it computes attention where it has several: "timm fused"


def build(network: Network, contender: str) -> nn.Module:
    """A classifier of 1000 classes, images -> logits, or a pair of logits from two heads in training."""
    vision.functional()  # timm and torchvision itself import it, also beside a torch it was not compiled for
    model = network.contenders[contender]()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    return model


def library_of(contender: str) -> str:
    return contender.split()[0]


def best(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """The times of each library's better way; libraries that took no part are left out."""
    ways = {name: [times for way, times in seconds.items() if library_of(way) == name] for name in LIBRARIES}
    return {name: min(times, key=min) for name, times in ways.items() if times}


def fastest_peer(times: dict[str, list[float]]) -> str:
    return min((peer for peer in PEERS if peer in times), key=lambda peer: min(times[peer]))


# --- who builds what -------------------------------------------------------------------------------------------------


def _muntin(name: str, **fields: Any) -> dict[str, Build]:
    def make() -> nn.Module:
        from muntin import create_model

        return create_model(name, **fields)

    return {"muntin": make}


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, drop_path_rate=0.0)


def _timm_attention(name: str) -> dict[str, Build]:
    def make(fused: bool) -> nn.Module:
        from timm.layers import set_fused_attn

        set_fused_attn(fused, experimental=fused)  # Swin counts as experimental there: off unless asked for
        return _timm(name)

    return {"timm fused": partial(make, True), "timm plain": partial(make, False)}


def _torchvision(name: str, **sizes: Any) -> dict[str, Build]:
    def make() -> nn.Module:
        from torchvision import models, ops

        model = getattr(models, name)(**sizes)
        for module in model.modules():
            if isinstance(module, ops.StochasticDepth):
                module.p = 0.0
        return model

    return {"torchvision": make}


def _transformers(family: str, head: str = "ForImageClassification", **sizes: Any) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{family}Config")(num_labels=1000, **sizes)
    return _Logits(getattr(transformers, family + head)(config))


def _transformers_attention(family: str, head: str = "ForImageClassification", **sizes: Any) -> dict[str, Build]:
    ways = {"fused": "sdpa", "plain": "eager"}
    return {
        f"transformers {way}": partial(_transformers, family, head, attn_implementation=name, **sizes)
        for way, name in ways.items()
    }


_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
NETWORKS = (
    Network(
        "Swin-T 224",
        224,
        _muntin("swin_tiny")
        | _timm_attention("swin_tiny_patch4_window7_224")
        | _torchvision("swin_t")
        | _transformers_attention("Swin", drop_path_rate=0.0),
    ),
    Network(
        "Swin V2-T 256",
        256,
        _muntin("swin_v2_tiny_window8")
        | {"timm": partial(_timm, "swinv2_tiny_window8_256")}
        | _torchvision("swin_v2_t")
        | {"transformers": partial(_transformers, "Swinv2", image_size=256, window_size=8, drop_path_rate=0.0)},
    ),
    Network(
        "ViT-S/16 224",
        224,
        _muntin("vit_small_patch16", gelu="erf")  # as its peers have it
        | _timm_attention("vit_small_patch16_224")
        | _torchvision(
            "VisionTransformer",
            image_size=224,
            patch_size=16,
            num_layers=12,
            num_heads=6,
            hidden_dim=384,
            mlp_dim=1536,
        )
        | _transformers_attention("ViT", **_SMALL),
    ),
    Network(
        "DeiT-S distilled 224",
        224,
        _muntin("deit_small_distilled")
        | _timm_attention("deit_small_distilled_patch16_224")
        | _transformers_attention("DeiT", "ForImageClassificationWithTeacher", **_SMALL),
    ),
    Network(
        "ConvNeXt-T 224",
        224,
        _muntin("convnext_tiny")
        | {"timm": partial(_timm, "convnext_tiny")}
        | _torchvision("convnext_tiny")
        | {"transformers": partial(_transformers, "ConvNext")},
    ),
    Network(
        "CvT-13 224",
        224,
        _muntin("cvt_13") | {"transformers": partial(_transformers, "Cvt", drop_path_rate=[0.0, 0.0, 0.0])},
    ),
)


# --- what they are asked to do ---------------------------------------------------------------------------------------


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
            answer = model(images)
            logits = answer if isinstance(answer, Tensor) else sum(answer) / len(answer)  # two heads: their mean
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
