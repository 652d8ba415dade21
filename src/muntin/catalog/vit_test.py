"""The entries of ViT, DeiT and BEiT."""

import pytest
import torch

from muntin import catalog
from muntin.catalog import beit, deit, vit
from muntin.heads import DistilledReadout, MeanNormReadout, PooledReadout, TokenReadout
from muntin.models.beit import VARIANTS as BEITS
from muntin.models.deit import VARIANTS as DEITS
from muntin.models.vit import VARIANTS as VITS
from muntin.models.vit_hybrid import VARIANTS as HYBRIDS
from muntin.tasks import Classifier
from muntin.weights.create import create_model

ROOMS = (vit, deit, beit)


def test_every_variant_has_one_entry():
    names = [entry.name for room in ROOMS for entry in room.ENTRIES]
    assert sorted(names) == sorted({**VITS, **HYBRIDS, **DEITS, **BEITS})


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ("vit_base_patch16_224.augreg_in21k", "vit_base_patch16"),
        ("google/vit-large-patch32-384", "vit_large_patch32_384"),
        ("ViT-B_16", "vit_base_patch16"),
        ("ViT-S_32-gap-norep", "vit_small_patch32_gap"),
        ("R50+ViT-L_32", "vit_r50_large_patch32"),
        ("vit_tiny_r_s16_p8_384", "vit_r_tiny_patch16_384"),
        ("facebook/deit-base-distilled-patch16-384", "deit_base_distilled_384"),
        ("deit3_huge_patch14_224.fb_in22k_ft_in1k", "deit3_huge"),
        ("deit_medium_patch16_LS", "deit3_medium"),
        ("beit_base_patch16_224", "beit_base"),
    ],
)
def test_names_of_other_projects_are_known(foreign, name):
    assert catalog.entry(foreign).name == name


def test_aliases_name_entries_and_no_entry_is_an_alias():
    for room in ROOMS:
        names = {entry.name for entry in room.ENTRIES}
        assert set(room.ALIASES.values()) <= names
        assert not set(room.ALIASES) & names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vit_base_patch16", TokenReadout),
        ("vit_base_patch16_gap", PooledReadout),
        ("deit_tiny", TokenReadout),
        ("deit_tiny_distilled", DistilledReadout),
        ("deit3_small", TokenReadout),
        ("beit_base", MeanNormReadout),
    ],
)
def test_each_is_read_as_published_with_its_own_epsilon(name, kind):
    with torch.device("meta"):
        readout = create_model(name, depth=1).readout
    assert type(readout) is kind
    assert readout.norm.eps == 1e-6
    assert getattr(readout, "representation", None) is None


@pytest.mark.parametrize("readout", ["token", "gap"])
def test_a_representation_layer_stands_before_the_classifier(readout):
    with torch.device("meta"):
        model = create_model("vit_tiny_patch16", depth=1, representation=24, readout=readout)
    assert model.readout.representation.weight.shape == (24, 192)
    assert model.readout.head.weight.shape == (1000, 24)


@pytest.mark.parametrize("family", [vit.FAMILY, vit.FAMILY_HYBRID, deit.FAMILY, deit.FAMILY_3, beit.FAMILY])
def test_the_small_fields_make_a_model_for_pictures_of_32_pixels(family):
    config = family.config(**family.small)
    model = Classifier(family.backbone(config), 10, family.readout(config)).eval()
    features = model.forward_features(torch.randn(2, 3, 32, 32))
    assert features.levels[0].shape == (2, 32, 8, 8)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
