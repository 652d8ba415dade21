"""Recorded cases of ViT, its hybrids and DeiT, and of the ViT that SimMIM trains."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from muntin.catalog import FAMILIES, beit, deit, vit
from muntin.data import Batch
from muntin.engine.optim import Optim, parameter_groups
from muntin.formats import beit as beit_files
from muntin.formats import vit as vit_files
from muntin.formats.beit import spread_bias
from muntin.formats.vit_rewrites import POSITION, TOKENS, grid_to_positions, positions_to_grid
from muntin.models.beit import BEiT, BEiTConfig
from muntin.models.deit import DeiT, DeiTConfig
from muntin.models.vit import EPS, ViT, ViTConfig
from muntin.models.vit_hybrid import HybridViT, HybridViTConfig
from muntin.tasks import Classification, Classifier, SimMIM
from muntin.weights.fit import fit

from .case import Case

RUNS = [(torch.float32, "auto"), (torch.float64, "reference"), (torch.float64, "sdpa")]  # type, way of attention
VIT, DEIT, SIMMIM, LOSS = 5e-5, 2e-5, 5e-6, 1e-6  # of the READMEs
# ViT's maps: the median entry, and the worst per unit of the largest. They are recorded in float32, and the first norm
# enlarges its noise: in float64 too the worst entry is off by 2.8e-4, where the largest is 14
VIT_MAPS = 2e-5, 5e-5
GRADIENTS = 1e-4  # of the largest entry
RATES = 1e-12  # relative


def runs(model: nn.Module) -> Iterator[tuple[Any, torch.dtype]]:
    for dtype, attention in RUNS:
        ran = copy.deepcopy(model).to(dtype).eval()
        ran.backbone.set_attention(attention)
        yield ran, dtype


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in model.named_parameters()}


def _block_outputs(backbone: Any, x: Tensor) -> list[Tensor]:
    """What every block puts out, tokens before the cells included: (B, P + N, C) each."""
    outputs: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *given: outputs.append(given[-1])) for block in backbone.blocks]
    backbone(x)
    for hook in hooks:
        hook.remove()
    return outputs


# --- ViT -------------------------------------------------------------------------------------------------------------


def vit_config_of(official: Mapping[str, Any], image: tuple[int, int]) -> ViTConfig:
    """Our config for a model config of the official code, whose positions are those of such pictures."""
    transformer, dim, resnet = official["transformer"], official["hidden_size"], official.get("resnet")
    assert official["classifier"] in ("token", "gap")
    assert {transformer["dropout_rate"], transformer["attention_dropout_rate"]} == {0.0}
    values: dict[str, Any] = {
        "patch": tuple(official["patches"]),
        "dim": dim,
        "depth": transformer["num_layers"],
        "heads": transformer["num_heads"],
        "mlp_ratio": transformer["mlp_dim"] / dim,
        "class_token": official["classifier"] == "token",
        "readout": official["classifier"],
        "representation": official["representation_size"] or 0,
    }
    if not resnet:
        return ViTConfig(**values, grid=(image[0] // values["patch"][0], image[1] // values["patch"][1]))
    units, width = tuple(resnet["num_layers"]), int(64 * resnet["width_factor"])
    stride = 4 * 2 ** (len(units) - 1)
    return HybridViTConfig(
        **values, grid=(-(-image[0] // stride), -(-image[1] // stride)), stem=units, stem_width=width
    )


def check_vit(case: Case) -> None:
    official, (_, *image, _) = case.config["model"], case.config["image_shape_NHWC"]
    config = vit_config_of(official, (image[0], image[1]))
    family = HybridViT if isinstance(config, HybridViTConfig) else ViT
    model = Classifier(family(config), official["num_classes"], vit.readout(config))
    foreign = vit_files.read(case.under("weights/"), config.grid)
    model.load_state_dict(foreign.tensors)
    assert {name: getattr(config, name) for name in foreign.settings} == foreign.settings
    for ran, dtype in runs(model):
        _compare_vit(case, ran, case.input("image", dtype))
    case.assert_all_compared()


def _compare_vit(case: Case, ran: Classifier, x: Tensor) -> None:
    blocks = _block_outputs(ran.backbone, x)
    case.compare("output/act/embedding", ran.backbone.embed(x), VIT)  # type: ignore[operator]
    for i, output in enumerate(blocks):
        case.compare_map(f"output/act/Transformer/encoderblock_{i}", output, *VIT_MAPS)
    case.compare_map("output/act/Transformer", ran.readout.norm(blocks[-1]), *VIT_MAPS)
    vector = ran.readout.vector(*ran.forward_features(x))
    if ran.readout.representation is not None:
        vector = ran.readout.representation(vector)  # recorded before its tanh
    case.compare("output/act/pre_logits", vector, VIT)
    case.compare("output/logits", ran(x), VIT)
    if case.has("output/loss"):
        batch = Batch({"image": x}, {"soft": case.input("target", x.dtype)})
        loss = Classification(ran).losses(batch).terms["cross_entropy"]
        loss.backward()
        case.compare("output/loss", loss, VIT)
        written = vit_files.write(_gradients(ran), "official", {"heads": ran.backbone.config.heads})
        case.compare_gradients(written, GRADIENTS)


# --- DeiT ------------------------------------------------------------------------------------------------------------


def check_deit(case: Case) -> None:
    official = case.config
    distilled = official["class"] == "DistilledVisionTransformer"
    side = official["img_size"] // official["patch_size"]
    config = DeiTConfig(
        patch=(official["patch_size"],) * 2,
        dim=official["embed_dim"],
        depth=official["depth"],
        heads=official["num_heads"],
        mlp_ratio=official["mlp_ratio"],
        grid=(side, side),
        distilled=distilled,
    )
    assert official["qkv_bias"]
    model = Classifier(DeiT(config), official["num_classes"], deit.readout(config))
    model.load_state_dict(vit_files.read(case.under("weights/")).tensors)
    for ran, dtype in runs(model):
        x = case.input("image", dtype)
        case.compare("output/logits", ran(x), DEIT)
        tokens = ran.readout.norm(ran.forward_features(x).prefix)
        case.compare("output/cls_feature", tokens[:, 0], DEIT)
        if distilled:
            case.compare("output/dist_feature", tokens[:, 1], DEIT)
            by_class, by_distillation = ran.train()(x)
            case.compare("output/train_logits_cls", by_class, DEIT)
            case.compare("output/train_logits_dist", by_distillation, DEIT)
    case.assert_all_compared()


# --- positions -------------------------------------------------------------------------------------------------------


def check_positions(case: Case) -> None:
    """Positions made for another grid, by the rules of ViT and of DeiT; those of tokens stay."""
    for name, made in case.config.items():
        by_deit = "extra_tokens" in made
        tokens = made["extra_tokens"] if by_deit else int(made["has_class_token"])
        new = (made["new_grid"],) * 2
        state = {token: torch.zeros(1, 1, made["dim"]) for token in TOKENS[:tokens]}
        state[POSITION] = case.tensors[f"input/{name}"]
        positions_to_grid(state)
        assert state[POSITION].shape[0] == made["orig_grid" if by_deit else "old_grid"]
        wanted = {POSITION: torch.empty(*new, made["dim"])}
        family = FAMILIES["deit" if by_deit else "vit"]
        told = {"position_resample": family.config.position_resample}
        state[POSITION] = fit(state, wanted, family, family.config(), "bicubic", told)[POSITION].tensor
        grid_to_positions(state)
        case.compare(f"output/{name}", state[POSITION], 1e-6 if by_deit else 1e-5)
    case.assert_all_compared()


# --- the ViT of SimMIM -----------------------------------------------------------------------------------------------


def beit_config_of(official: Mapping[str, Any]) -> BEiTConfig:
    """Our config for the constructor arguments of SimMIM's VisionTransformer."""
    assert (official["init_values"], official["qkv_bias"], official["use_abs_pos_emb"]) == (0.1, True, False)
    assert official["use_shared_rel_pos_bias"] != official["use_rel_pos_bias"]
    side = official["img_size"] // official["patch_size"]
    return BEiTConfig(
        patch=(official["patch_size"],) * 2,
        dim=official["embed_dim"],
        depth=official["depth"],
        heads=official["num_heads"],
        mlp_ratio=official["mlp_ratio"],
        grid=(side, side),
        shared_bias=official["use_shared_rel_pos_bias"],
        readout="mean_norm" if official["use_mean_pooling"] else "token",
    )


def check_simmim_vit(case: Case) -> None:
    model = SimMIM(BEiT(beit_config_of(case.config["encoder"])))
    assert model.stride == (case.config["encoder_stride"],) * 2
    model.norm.eps = EPS  # SimMIM ends with the norm of its encoder, which is Swin's where nobody says otherwise
    model.load_state_dict(beit_files.read(case.under("weights/")).tensors)
    for ran, dtype in runs(model):
        image, mask = case.input("x", dtype), case.tensors["input/mask"]
        batch = Batch({"image": image, "mask": mask}, {})
        case.compare("output/encoder_features", ran.encode(image, mask).movedim(-1, 1), SIMMIM)
        case.compare("output/reconstruction", ran.reconstruct(image, mask), SIMMIM)
        loss = ran.losses(batch).terms["reconstruction"]
        loss.backward()
        case.compare("output/loss", loss, LOSS)
        case.compare_gradients(beit_files.write(_gradients(ran), "simmim"), GRADIENTS)
    # the mask token is the one difference: we let none decay, the official code lets that of ViT, not that of Swin
    official = set(json.loads(case.metadata["no_weight_decay_params_as_official"]))
    exempt = {name for name, (_, _, decay) in _groups(model, Optim(), "simmim").items() if not decay}
    assert exempt == official | {"encoder.mask_token"}
    case.assert_all_compared()


def check_adapting_vit(case: Case) -> None:
    """A pre-trained ViT fine-tuned on larger pictures: its one bias table becomes each block's own, and grows."""
    target = case.config["target_model"]
    config = beit_config_of(target)
    model = Classifier(BEiT(config), target["num_classes"], beit.FAMILY.readout(config))
    own = model.state_dict()
    foreign = beit_files.read(case.under("weights/"))
    state = spread_bias(foreign.tensors, own)
    changes = fit(state, own, FAMILIES["beit"], config, "geometric")
    state |= {key: change.tensor for key, change in changes.items()}
    state |= {f"readout.{name.replace('fc_norm', 'norm')}": t for name, t in case.under("input/target_only/").items()}
    model.load_state_dict({key: tensor for key, tensor in state.items() if key in own})
    _check_account(case, own, foreign, state, changes)

    official = beit_files.write(model.state_dict(), "official")
    for name in case.under("output/adapted/"):
        case.compare(f"output/adapted/{name}", official[name], 2e-6)
    for ran, dtype in runs(model):
        x = case.input("x", dtype)
        case.compare("output/features", ran.readout.pool(*ran.forward_features(x)), SIMMIM)
        case.compare("output/logits", ran(x), SIMMIM)
    _check_parameter_groups(case, model)
    case.assert_all_compared()


def _check_account(
    case: Case, own: Mapping[str, Tensor], foreign: beit_files.Foreign, state: Mapping[str, Tensor], changes: Mapping
) -> None:
    """What the official code says it changed, dropped and did not use, we say too."""

    def recorded(field: str) -> set[str]:
        return {name for name in json.loads(case.metadata[field]) if not name.endswith("relative_position_index")}

    changed = {name: change.tensor for name, change in changes.items()}
    assert set(beit_files.write(changed, "official")) == recorded("changed_keys")
    assert {name.removeprefix("encoder.") for name in foreign.dropped} == {"rel_pos_bias.relative_position_index"}
    assert set(foreign.tensors) - set(state) == {"backbone.shared_bias.table"}
    assert recorded("dropped") == {"rel_pos_bias.relative_position_bias_table"}
    assert set(state) - set(own) == recorded("unexpected_after_load")
    assert set(case.under("input/target_only/")) == recorded("missing_after_load")


def _check_parameter_groups(case: Case, model: Classifier) -> None:
    """Learning rate, its scale and decay of every parameter, under layer-wise decay."""
    recorded = json.loads(case.metadata["finetune_param_groups"])
    expected = {name: (g["lr"], g["lr_scale"], g["weight_decay"]) for g in recorded.values() for name in g["params"]}
    settings = case.config
    optim = Optim(lr=settings["base_lr"], weight_decay=settings["weight_decay"], layer_decay=settings["layer_decay"])
    found = _groups(model, optim, "official")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        for one, other in zip(found[name], values):
            assert abs(one - other) <= RATES * other, f"{name}: lr, its scale and decay are {found[name]}, not {values}"


def _groups(model: nn.Module, optim: Optim, layout: str) -> dict[str, tuple[float, float, float]]:
    """(learning rate, its scale, weight decay) of every parameter, under its official name."""
    parameters, found = dict(model.named_parameters()), {}
    for group in parameter_groups(model, optim):
        values = optim.lr * group["lr_scale"], group["lr_scale"], group["weight_decay"]
        written = beit_files.write({name: parameters[name] for name in group["names"]}, layout)
        found |= dict.fromkeys(written, values)
    return found
