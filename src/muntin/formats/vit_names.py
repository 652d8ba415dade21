"""The names that other projects give to the tensors of ViT and DeiT: a table per layout, foreign -> ours.

`readout.mean_norm` stands for a last norm that follows the mean over the cells; `vit_rewrites` makes it the readout's
norm. JAX code says `kernel` and `scale` where everybody else says `weight`.
"""

from __future__ import annotations

from .rename import nested

_BLOCK = "backbone.blocks.{b}."
_UNIT = "backbone.stem.stages.{s}.{u}."


def _dense(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}/kernel": f"{ours}.weight", f"{theirs}/bias": f"{ours}.bias"}


def _norm(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}/scale": f"{ours}.weight", f"{theirs}/bias": f"{ours}.bias"}


def _attention(theirs: str) -> dict[str, str]:
    parts = {key: value for part in ("query", "key", "value") for key, value in _dense(part, f"qkv.{part}").items()}
    return nested(f"{theirs}/", "mix.", {**parts, **_dense("out", "proj")})


def _mlp(theirs: str) -> dict[str, str]:
    return nested(f"{theirs}/", "mlp.", {**_dense("Dense_0", "fc1"), **_dense("Dense_1", "fc2")})


OFFICIAL = {
    "cls": "backbone.prefix.class_token",
    **_dense("embedding", "backbone.patch_embed.proj"),
    "Transformer/posembed_input/pos_embedding": "backbone.position.embedding",
    **nested(
        "Transformer/encoderblock_{b}/",
        _BLOCK,
        {
            **_norm("LayerNorm_0", "norm1"),
            **_attention("MultiHeadDotProductAttention_1"),
            **_norm("LayerNorm_2", "norm2"),
            **_mlp("MlpBlock_3"),
            # published files count all parts of a block, today's Flax counts each kind by itself
            **_attention("MultiHeadDotProductAttention_0"),
            **_norm("LayerNorm_1", "norm2"),
            **_mlp("MlpBlock_0"),
        },
    ),
    **_norm("Transformer/encoder_norm", "readout.norm"),
    **_dense("pre_logits", "readout.representation"),
    **_dense("head", "readout.head"),
    # hybrids
    "conv_root/kernel": "backbone.stem.root.conv.weight",
    **_norm("gn_root", "backbone.stem.root.norm"),
    **nested(
        "block{s+1}/unit{u+1}/",
        _UNIT,
        {
            "conv{i}/kernel": "conv{i}.weight",
            **_norm("gn{i}", "norm{i}"),
            "conv_proj/kernel": "conv_proj.weight",
            **_norm("gn_proj", "norm_proj"),
        },
    ),
}

_NORMS_AND_MLP = {"norm1.*": "norm1.*", "norm2.*": "norm2.*", "mlp.fc1.*": "mlp.fc1.*", "mlp.fc2.*": "mlp.fc2.*"}
_TIMM_BACKBONE = {
    "cls_token": "backbone.prefix.class_token",
    "dist_token": "backbone.prefix.distillation_token",
    "pos_embed": "backbone.position.embedding",
    "patch_embed.proj.*": "backbone.patch_embed.proj.*",
    **nested(
        "blocks.{b}.",
        _BLOCK,
        {
            **_NORMS_AND_MLP,
            "attn.qkv.*": "mix.qkv.*",
            "attn.proj.*": "mix.proj.*",
            "ls1.gamma": "scale1.gamma",
            "ls2.gamma": "scale2.gamma",
        },
    ),
    # hybrids
    "patch_embed.backbone.stem.conv.weight": "backbone.stem.root.conv.weight",
    "patch_embed.backbone.stem.norm.*": "backbone.stem.root.norm.*",
    **nested(
        "patch_embed.backbone.stages.{s}.blocks.{u}.",
        _UNIT,
        {
            "conv{i}.weight": "conv{i}.weight",
            "norm{i}.*": "norm{i}.*",
            "downsample.conv.weight": "conv_proj.weight",
            "downsample.norm.*": "norm_proj.*",
        },
    ),
    # a stem without stages
    "patch_embed.backbone.conv.weight": "backbone.stem.root.conv.weight",
    "patch_embed.backbone.norm.*": "backbone.stem.root.norm.*",
}
TIMM = {
    **_TIMM_BACKBONE,
    "norm.*": "readout.norm.*",
    "fc_norm.*": "readout.mean_norm.*",
    "head.*": "readout.head.*",
    "head_dist.*": "readout.head_distilled.*",
    "pre_logits.fc.*": "readout.representation.*",  # until 0.5
}
DEIT3 = {  # its code has names of its own for layer scale
    **{theirs: ours for theirs, ours in TIMM.items() if ".ls" not in theirs},
    **nested("blocks.{b}.", _BLOCK, {"gamma_1": "scale1.gamma", "gamma_2": "scale2.gamma"}),
}

SIMMIM = {
    "encoder.mask_token": "mask_token",
    "encoder.norm.*": "norm.*",
    **nested("encoder.", "", _TIMM_BACKBONE),
    "decoder.0.*": "decoder.*",
}

TORCHVISION = {
    "class_token": "backbone.prefix.class_token",
    "conv_proj.*": "backbone.patch_embed.proj.*",
    "encoder.pos_embedding": "backbone.position.embedding",
    **nested(
        "encoder.layers.encoder_layer_{b}.",
        _BLOCK,
        {
            "ln_1.*": "norm1.*",
            "self_attention.in_proj_weight": "mix.qkv.weight",
            "self_attention.in_proj_bias": "mix.qkv.bias",
            "self_attention.out_proj.*": "mix.proj.*",
            "ln_2.*": "norm2.*",
            "mlp.0.*": "mlp.fc1.*",
            "mlp.3.*": "mlp.fc2.*",
            "mlp.linear_1.*": "mlp.fc1.*",  # files from before 0.13
            "mlp.linear_2.*": "mlp.fc2.*",
        },
    ),
    "encoder.ln.*": "readout.norm.*",
    "heads.pre_logits.*": "readout.representation.*",
    "heads.head.*": "readout.head.*",
}

_QKV = {"query.*": "query.*", "key.*": "key.*", "value.*": "value.*"}
TRANSFORMERS = {  # without the `vit.` or `deit.` that stands before all but heads
    "embeddings.cls_token": "backbone.prefix.class_token",
    "embeddings.distillation_token": "backbone.prefix.distillation_token",
    "embeddings.mask_token": "mask_token",
    "embeddings.position_embeddings": "backbone.position.embedding",
    "embeddings.patch_embeddings.projection.*": "backbone.patch_embed.proj.*",
    **nested(
        "encoder.layer.{b}.",
        _BLOCK,
        {
            **nested("attention.attention.", "mix.qkv.", _QKV),
            "attention.output.dense.*": "mix.proj.*",
            "layernorm_before.*": "norm1.*",
            "layernorm_after.*": "norm2.*",
            "intermediate.dense.*": "mlp.fc1.*",
            "output.dense.*": "mlp.fc2.*",
        },
    ),
    # transformers 5 keeps the names above in files, but calls its parts by these in memory
    **nested(
        "layers.{b}.",
        _BLOCK,
        {
            **nested("attention.", "mix.qkv.", {"q_proj.*": "query.*", "k_proj.*": "key.*", "v_proj.*": "value.*"}),
            "attention.o_proj.*": "mix.proj.*",
            "layernorm_before.*": "norm1.*",
            "layernorm_after.*": "norm2.*",
            "mlp.fc1.*": "mlp.fc1.*",
            "mlp.fc2.*": "mlp.fc2.*",
        },
    ),
    "layernorm.*": "readout.norm.*",
    "pooler.dense.*": "readout.representation.*",
    "classifier.*": "readout.head.*",
    "cls_classifier.*": "readout.head.*",
    "distillation_classifier.*": "readout.head_distilled.*",
    "decoder.0.*": "decoder.*",
}

OURS = {  # the names that a file of ours may have
    ours: ours for table in (TIMM, SIMMIM) for ours in table.values() if ".mean_norm." not in ours
} | {"backbone.prefix.position": "backbone.prefix.position"}
