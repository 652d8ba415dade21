"""Model folders of earlier formats, and descriptions that a stranger may have changed."""

import json

import pytest
import torch

from muntin.catalog import Fresh
from muntin.data import PictureInput
from muntin.errors import UserError
from muntin.files.sums import CONFIG, FORMATS_BEFORE, sealed
from muntin.tasks import SimMIM
from muntin.weights.folder import load_model, save_model

SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (4, 4)}
INPUTS = PictureInput(image_size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3).to_dict()
MASKING = {"mask_patch": 8, "mask_ratio": 0.5, "target_window": 7}


@pytest.fixture
def described(tmp_path):
    """Write the model folder of a run, with these changes in its config.json."""

    def write(**changes):
        folder = tmp_path / "run" / "model"
        model = SimMIM(Fresh("swin_tiny", SMALL).classifier(0).backbone)
        save_model(folder, "swin_tiny", model, kind="simmim", classes=(), inputs=INPUTS)
        config = json.loads((folder / CONFIG).read_text())
        config = {name: value for name, value in (config | changes).items() if name != "sha256" and value is not None}
        (folder / CONFIG).write_text(json.dumps(sealed(config)))
        return folder

    return write


def before(described, format: str):
    return described(format=format, inputs=None, task=None, preprocess=INPUTS)


@pytest.mark.parametrize("format", FORMATS_BEFORE)
def test_a_simmim_folder_of_an_earlier_format_masks_as_its_run_says(described, format):
    folder = before(described, format)
    (folder.parent / "recipe.json").write_text(json.dumps({"task": "simmim", "masking": MASKING}))
    saved = load_model(folder)
    assert saved.task == {"kind": "simmim"} | MASKING
    assert saved.model.normalised_target == 7
    assert (saved.model.masks.cell, saved.model.masks.ratio) == ((8, 8), 0.5)


@pytest.mark.parametrize("recipe", [None, "{", "[]", '{"masking": 5}'])
def test_without_its_run_it_says_what_it_holds(described, recipe):
    folder = before(described, FORMATS_BEFORE[-1])
    if recipe:
        (folder.parent / "recipe.json").write_text(recipe)
    with pytest.raises(UserError, match="holds a simmim, which names no classes; fine-tune it first"):
        load_model(folder)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"kind": "simmim", "foo": 1}, "unknown field 'foo': known: mask_patch"),
        ({"kind": "simmim", "mask_patch": "x"}, "says mask_patch 'x'; it must be a number"),
        ({"kind": "simmim", "mask_patch": 2.5}, "says mask_patch 2.5; it must be a number"),
        ({"kind": "simmim", "mask_patch": True}, "says mask_patch True"),
        ({"kind": "simmim", "mask_ratio": 2}, "mask_ratio is 2; it must be above 0 and below 1"),
        ({"kind": ["x"]}, "unknown task"),
        ({"kind": "distillation"}, "does not fit the model"),
    ],
)
def test_a_task_that_no_folder_can_have_is_one_sentence(described, task, message):
    with pytest.raises(UserError, match=message):
        load_model(described(task=task))


def test_a_folder_answers_as_it_was_saved(described):
    saved = load_model(described(task={"kind": "simmim"} | MASKING))
    image = torch.randn(1, 3, 32, 32)
    assert saved.model.target(image).shape == image.shape
    assert saved.answering() == {"kind": "simmim"} | MASKING
