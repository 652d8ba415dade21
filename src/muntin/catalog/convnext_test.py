import pytest
import torch

from muntin import catalog
from muntin.catalog.convnext import ENTRIES
from muntin.weights.create import create_model

COSTS = {  # million parameters, GMACs at 224 pixels
    "convnext_tiny": (28.589, 4.456),
    "convnext_small": (50.224, 8.684),
    "convnext_base": (88.591, 15.36),
    "convnext_large": (197.767, 34.36),
    "convnext_xlarge": (350.197, 60.92),
    "convnext_iso_small": (22.309, 4.29),
    "convnext_iso_base": (87.084, 16.90),
    "convnext_iso_large": (305.943, 59.70),
}


@pytest.mark.parametrize("name", COSTS)
def test_published_variants_have_their_parameters_and_multiply_adds(name):
    with torch.device("meta"):
        model = create_model(name)
    parameters, cost = COSTS[name]
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(parameters, abs=5e-4)
    assert catalog.multiply_adds(name) / 1e9 == pytest.approx(cost, rel=0.005)


def test_all_variants_are_counted_above():
    assert set(COSTS) == {entry.name for entry in ENTRIES}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("facebook/convnext-tiny-224", "convnext_tiny"),
        ("facebook/convnext-base-384-22k-1k", "convnext_base"),
        ("facebook/convnext-xlarge-224-22k-1k", "convnext_xlarge"),
        ("convnext_small.fb_in22k_ft_in1k_384", "convnext_small"),
        ("convnext_base_22k_1k_384", "convnext_base"),
        ("convnext_tiny_1k_224_ema", "convnext_tiny"),
        ("convnext_isotropic_large", "convnext_iso_large"),
        ("convnext_roadmap_08", "convnext_roadmap_08b"),
    ],
)
def test_other_projects_names_are_known(typed, meant):
    assert catalog.entry(typed).name == meant
