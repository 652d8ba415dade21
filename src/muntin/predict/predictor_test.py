import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from muntin import catalog
from muntin.data import Preprocess
from muntin.errors import UserError
from muntin.predict import Predictor, load

CONFIG = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (4, 4)}
PREPROCESS = Preprocess(image_size=(16, 16), crop_ratio=0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a small classifier of three classes."""
    torch.manual_seed(0)
    model = catalog.create_model("swin_tiny", num_classes=3, **CONFIG)
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "format": "muntin/1",
        "kind": "classifier",
        "model": "swin_tiny",
        "config": CONFIG,
        "num_classes": 3,
        "classes": ["cat", "dog", "owl"],
        "preprocess": PREPROCESS.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(config))
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
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_predictions_equal_the_model_by_hand(run, photos):
    predictor = Predictor.load(run)
    answer = predictor.predict([photos], top=2, batch_size=2)
    assert [Path(p.file).name for p in answer.found] == [f"{i}.png" for i in range(5)]
    images = [PREPROCESS.transform()(Image.open(photos / f"{i}.png")) for i in range(5)]
    with torch.inference_mode():
        scores = load(run / "model").model(torch.stack(images)).softmax(1)
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


def test_loading_gives_the_saved_weights_in_eval_mode(run):
    torch.manual_seed(0)
    saved, original = load(run), catalog.create_model("swin_tiny", num_classes=3, **CONFIG)
    assert not saved.model.training
    assert saved.classes == ("cat", "dog", "owl")
    assert saved.preprocess == PREPROCESS
    for name, tensor in original.state_dict().items():
        assert torch.equal(saved.model.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ["cat", "dog"]}, "num_classes 3 but names 2"),
        ({"classes": ["cat", "dog"], "num_classes": 2}, "of other shape"),
        ({"config": CONFIG | {"depths": (2, 1)}}, "missing"),
        ({"kind": "simmim"}, "fine-tune it first"),
        ({"format": "muntin/9"}, "muntin/9"),
    ],
)
def test_config_that_does_not_fit_the_weights_is_refused(run, fields, message):
    change_config(run, **fields)
    with pytest.raises(UserError, match=message):
        load(run)


def test_damaged_files_are_refused(run):
    (run / "model" / "config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        load(run)
    (run / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="lacks format"):
        load(run)


def test_cut_off_weights_are_refused(run):
    file = run / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load(run)


def test_place_without_a_model_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="no model at"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no model/"):
        load(tmp_path)


def test_picture_smaller_than_a_patch_is_one_sentence(run, photos):
    change_config(run, preprocess=Preprocess(image_size=(2, 2)).to_dict())
    with pytest.raises(UserError, match="smaller than one patch"):
        Predictor.load(run).predict([photos])
