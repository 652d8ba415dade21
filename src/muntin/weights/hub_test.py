"""The Hub itself is not asked: its three functions are replaced by ones that copy to and from a folder."""

import fnmatch
import shutil
import sys
from pathlib import Path

import pytest
import torch

from muntin import from_pretrained, push_to_hub, save_pretrained
from muntin.catalog import build_config
from muntin.data import PictureInput
from muntin.errors import UserError
from muntin.models import Swin
from muntin.tasks import SimMIM
from muntin.weights.create import create_backbone, create_model
from muntin.weights.folder import Saved
from muntin.weights.hub import Card

SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 4}
PICTURE = torch.randn(1, 3, 20, 24)


@pytest.fixture
def model():
    module = create_model("swin_tiny", num_classes=2, **SMALL).eval()
    return Saved(module, "swin_tiny", ("käfer", "ant"), PictureInput(image_size=(32, 32)).to_dict())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub of folders: owner/name -> files. What was asked for is in the list that is returned."""
    import_hub = pytest.importorskip("huggingface_hub")
    server, asked = tmp_path / "server", []

    def copy(source: Path, target: Path, patterns):
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns):
                shutil.copy(file, target)

    def create_repo(repo_id, *, private, exist_ok):
        asked.append((repo_id, private))
        (server / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(*, repo_id, folder_path, allow_patterns, commit_message):
        asked.append(commit_message)
        copy(Path(folder_path), server / repo_id, allow_patterns)
        return f"https://hub/{repo_id}/commit/1"

    def snapshot_download(repo_id, *, revision, allow_patterns):
        asked.append(revision)
        if not (server / repo_id).exists():
            raise OSError(f"404 Client Error\nRepository Not Found for {repo_id}")
        copy(server / repo_id, tmp_path / "cache" / repo_id, allow_patterns)
        return str(tmp_path / "cache" / repo_id)

    for function in (create_repo, upload_folder, snapshot_download):
        monkeypatch.setattr(import_hub, function.__name__, function)
    return asked


def test_a_folder_comes_back(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "model")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = from_pretrained(folder)
    assert again[1:4] == model[1:4]
    assert again.task == {"kind": "classification"}
    assert torch.equal(again.model(PICTURE), model.model(PICTURE))
    with pytest.raises(UserError, match="has no revisions"):
        from_pretrained(folder, revision="v1")


def test_a_repository_comes_back(model, hub, tmp_path):
    assert push_to_hub(model, "someone/kaefer-2", private=True) == "https://hub/someone/kaefer-2/commit/1"
    (tmp_path / "server" / "someone" / "kaefer-2" / "run_me.py").write_text("raise SystemExit")
    again = from_pretrained("someone/kaefer-2", revision="main")
    assert torch.equal(again.model(PICTURE), model.model(PICTURE))
    assert again.classes == ("käfer", "ant")
    fetched = sorted(file.name for file in (tmp_path / "cache" / "someone" / "kaefer-2").iterdir())
    assert fetched == ["README.md", "config.json", "model.safetensors"]
    assert hub == [("someone/kaefer-2", True), "swin_tiny, by muntin", "main"]


def test_a_damaged_repository_is_refused(model, hub, tmp_path):
    push_to_hub(model, "someone/bees")
    weights = tmp_path / "server" / "someone" / "bees" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match="other contents than were written"):
        from_pretrained("someone/bees")


def test_what_the_hub_refuses_is_one_sentence(model, hub, monkeypatch):
    with pytest.raises(UserError, match=r"someone/absent cannot be fetched from the Hub: 404 Client Error$"):
        from_pretrained("someone/absent")

    def refuse(*_, **__):
        raise OSError("403 Forbidden\nsee the log")

    monkeypatch.setattr(sys.modules["huggingface_hub"], "upload_folder", refuse)
    with pytest.raises(UserError, match=r"cannot be sent to someone/bees: 403 Forbidden$"):
        push_to_hub(model, "someone/bees")


@pytest.mark.parametrize("place", ["bees", "some/where/else", "../bees", "someone/", "a b/c"])
def test_what_is_neither_folder_nor_repository_is_told(model, place):
    with pytest.raises(UserError, match="owner/name"):
        from_pretrained(place)
    with pytest.raises(UserError, match="owner/name"):
        push_to_hub(model, place)


def test_without_the_package_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'muntin\[hub\]'"):
        from_pretrained("someone/bees")
    with pytest.raises(UserError, match=r"pip install 'muntin\[hub\]'"):
        push_to_hub(model, "someone/bees")


def test_the_card_says_what_is_known(model, tmp_path):
    card = Card(license="mit", datasets=("imagenet-1k",), metrics={"top-1 %": 81.25}, protocol="50,000 pictures.")
    text = (save_pretrained(model, tmp_path / "model", card=card) / "README.md").read_text(encoding="utf-8")
    yaml = pytest.importorskip("yaml")
    head = yaml.safe_load(text.split("---")[1])
    assert head == {
        "license": "mit",
        "library_name": "muntin",
        "pipeline_tag": "image-classification",
        "tags": ["muntin", "swin-transformer", "swin_tiny"],
        "datasets": ["imagenet-1k"],
        "metrics": ["accuracy"],
    }
    assert "muntin.from_pretrained(" in text
    assert "| top-1 % | 81.25 |\n\n50,000 pictures." in text
    assert "2: käfer, ant" in text
    assert "- image_size: [32, 32]" in text
    assert "## Limits" not in text


def test_a_pretraining_model_is_saved_as_one(tmp_path):
    task = SimMIM(Swin(build_config("swin_tiny", SMALL)))
    folder = save_pretrained(Saved(task, "swin_tiny", (), PictureInput().to_dict()), tmp_path / "model")
    assert "image-feature-extraction" in (folder / "README.md").read_text()
    backbone = create_backbone("swin_tiny", weights=folder, **SMALL)
    assert torch.equal(backbone.patch_embed.proj.weight, task.backbone.patch_embed.proj.weight)


def test_what_does_not_belong_together_is_refused(model, tmp_path):
    for wrong, said in (
        (model._replace(classes=("a",)), "1 class names"),
        (model._replace(name="swin_v2_tiny_window8"), "names a SwinV2"),
        (model._replace(inputs={}), "inputs lack"),
        (model._replace(model=torch.nn.Linear(1, 1)), "a Linear cannot be saved"),
    ):
        with pytest.raises(UserError, match=said):
            save_pretrained(wrong, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_class_names_are_no_markup_in_the_card(model, tmp_path):
    named = model._replace(classes=("<b>a</b>\n# b", "c_d|e"))
    text = (save_pretrained(named, tmp_path / "model", card=Card(metrics={"x|y": 1.0})) / "README.md").read_text()
    assert r"2: \<b\>a\</b\> \# b, c\_d\|e" in text
    assert r"| x\|y | 1 |" in text


@pytest.mark.parametrize(
    ("name", "config", "tag"),
    [
        ("vit_tiny_patch16", {"dim": 12, "depth": 1, "grid": (2, 2)}, "vit"),
        ("convnext_tiny", {"dims": (8, 16), "depths": (1, 1)}, "convnext"),
    ],
)
def test_a_card_is_found_under_its_own_family(tmp_path, name, config, tag):
    made = create_model(name, num_classes=1, **config).eval()
    saved = Saved(made, name, ("bee",), PictureInput(image_size=(32, 32)).to_dict())
    folder = save_pretrained(saved, tmp_path / "model")
    assert f'tags: ["muntin", "{tag}", "{name}"]' in (folder / "README.md").read_text(encoding="utf-8")
    picture = torch.ones(1, 3, 32, 32)
    assert torch.equal(from_pretrained(folder).model(picture), made(picture))
