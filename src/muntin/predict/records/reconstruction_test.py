import csv
import io

import torch

from muntin.answers import Reconstruction
from muntin.ops.local_norm import normalise_locally
from muntin.predict import write_csv
from muntin.predict.records import reconstruction


def answer() -> Reconstruction:
    image = torch.zeros(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2], mask[1, :, :1] = 1, 1
    predicted = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), 2.0)])
    return Reconstruction(predicted, image, mask, 0, torch.tensor(0.0))


def test_the_error_counts_hidden_pixels_alone():
    first, second = reconstruction.read(answer(), ["a.png", "b.png"], (), top=5)
    assert (first.hidden, first.error) == (0.5, 0.5)
    assert (second.hidden, second.error) == (0.25, 2.0)
    assert first.record() == {"file": "a.png", "hidden": 0.5, "error": 0.5}


def test_a_normalised_target_is_what_the_error_is_measured_against():
    random = torch.Generator().manual_seed(0)
    image, mask = torch.randn(1, 2, 12, 12, generator=random), torch.ones(1, 1, 12, 12)
    perfect = Reconstruction(normalise_locally(image, 5), image, mask, 5, torch.tensor(0.0))
    assert reconstruction.read(perfect, ["a"], (), top=1)[0].error == 0


def test_csv_has_a_line_a_picture():
    file = io.StringIO(newline="")
    write_csv("reconstruction", reconstruction.read(answer(), ["a.png", "b.png"], (), top=5), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["file"] for row in rows] == ["a.png", "b.png"]
    assert rows[1]["error"] == "2.000000"
