import dataclasses

import pytest
import torch

from muntin.catalog.convnext_roadmap import ENTRIES, FAMILY, measured
from muntin.heads import MeanNormReadout, MeanReadout
from muntin.tasks import Classifier

PAPER = "76.13 78.82 79.36 79.51 78.28 80.50 80.64 79.92 80.35 80.57 80.57 80.47 80.62 81.27 81.41 81.47 81.97"
PAPER_B = "78.20 81.14 81.33 81.59 80.54 81.85 82.64 82.04 82.32 82.30 82.27 82.18 82.19 82.71 83.17 83.35 83.60"


@pytest.mark.parametrize(("start", "numbers"), [("convnext_roadmap_b_", PAPER_B), ("convnext_roadmap_", PAPER)])
def test_every_step_says_what_changed_and_what_the_paper_reached(start, numbers):
    entries = [e for e in ENTRIES if e.name.startswith(start) and e.name[len(start)].isdigit()]
    assert all(entry.note for entry in entries)
    assert [entry.top1 for entry in entries if entry.top1] == [float(number) for number in numbers.split()]
    assert [entry.name for entry in entries if not entry.top1] == [f"{start}13_no_norms"]


def test_numbers_on_the_digits_come_from_the_benchmark():
    told = {entry.name for entry in ENTRIES if entry.digits is not None}
    assert told == {entry.name for entry in ENTRIES if "_b_" not in entry.name}
    assert set(measured()) == told
    for entry in ENTRIES:
        assert entry.digits is None or 10 < entry.digits < 100


def test_only_the_last_step_norms_after_the_mean():
    for entry in ENTRIES:
        config = dataclasses.replace(entry.config, **FAMILY.small)
        model = Classifier(FAMILY.backbone(config), 3, FAMILY.readout(config))  # type: ignore[arg-type]
        assert type(model.readout) is (MeanNormReadout if entry.name.endswith("_13") else MeanReadout)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)
        assert Classifier(FAMILY.backbone(config), 0, FAMILY.readout(config))(torch.randn(1, 3, 32, 32)).ndim == 2  # type: ignore[arg-type]
