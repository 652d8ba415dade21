import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import PictureInput
from muntin.errors import UserError
from muntin.predict import Predictor
from muntin.weights.create import create_model
from muntin.weights.folder import load_model, save_model

CONFIG = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (4, 4)}
PREPROCESS = PictureInput(image_size=(16, 16), crop_ratio=0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a small classifier of three classes."""
    model = create_model("swin_tiny", num_classes=3, **CONFIG)
    save_model(
        tmp_path / "run" / "model",
        "swin_tiny",
        model,
        kind="classifier",
        classes=("cat", "dog", "owl"),
        inputs=PREPROCESS.to_dict(),
    )
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.effect_noise((20 + i, 30), 80).save(folder / f"{i}.png")
    return folder


def change_config(run: Path, **fields) -> None:
    file = run / "model" / "config.json"
    unsealed = {"format": "muntin/1"}  # the format without a checksum of its own
    file.write_text(json.dumps(json.loads(file.read_text()) | unsealed | fields))


def test_predictions_equal_the_model_by_hand(run, photos):
    predictor = Predictor.load(run)
    answer = predictor.predict([photos], top=2, batch_size=2)
    assert [Path(p.file).name for p in answer.found] == [f"{i}.png" for i in range(5)]
    transform, rng = PREPROCESS.eval_transform(), np.random.default_rng(0)
    images = [transform(PREPROCESS.read(photos / f"{i}.png"), rng).inputs["image"] for i in range(5)]
    with torch.inference_mode():
        scores = load_model(run).model(torch.stack(images)).softmax(1)
    for prediction, row in zip(answer.found, scores):
        best = row.argsort(descending=True)[:2].tolist()
        assert [label for label, _ in prediction.top] == [("cat", "dog", "owl")[k] for k in best]
        assert prediction.score == pytest.approx(row[best[0]].item(), abs=1e-5)


def test_files_that_are_no_pictures_are_skipped_and_listed(run, photos):
    (photos / "2.png").write_bytes(b"no picture")
    answer = Predictor.load(run).predict([photos])
    assert len(answer.found) == 4
    ((file, why),) = answer.skipped.items()
    assert file.endswith("2.png")
    assert "2.png is not a picture" in why


def test_drawings_are_saved_one_a_picture(run, photos, tmp_path):
    Predictor.load(run).predict([photos], save=tmp_path / "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == 5


def test_more_labels_than_classes_are_all_classes(run, photos):
    (first, *_) = Predictor.load(run).predict([photos], top=9).found
    assert sorted(label for label, _ in first.top) == ["cat", "dog", "owl"]
    assert sum(score for _, score in first.top) == pytest.approx(1, abs=1e-5)


def test_picture_smaller_than_a_patch_is_one_sentence(run, photos):
    change_config(run, inputs=PictureInput(image_size=(2, 2)).to_dict())
    with pytest.raises(UserError, match="smaller than one patch"):
        Predictor.load(run).predict([photos])
