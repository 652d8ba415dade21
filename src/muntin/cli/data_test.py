import json
import os

import numpy as np
import pytest
from PIL import Image

from muntin.cli.data import run
from muntin.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes with six pictures each, none like another."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(6):
            pixels = np.random.default_rng((ord(name[0]), n)).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{n}.png")
    return tmp_path / "photos"


def test_clean_data(photos, capsys):
    assert run(["check", str(photos)]) == 0
    shown = capsys.readouterr().out
    assert "class folders; 12 pictures" in shown
    assert "cat           6" in shown
    assert "width 30 30 30, height 20 20 20" in shown
    assert shown.splitlines()[-1] == "nothing to be put right"


def test_what_must_be_put_right_is_listed_with_its_reasons(photos, capsys):
    (photos / "cat" / "0.png").write_bytes(b"")
    (photos / "dog" / "0.png").write_text("text")
    assert run(["check", str(photos)]) == 2
    said = capsys.readouterr()
    assert "! 2 files cannot be read" in said.out
    assert "0.png is not a picture that can be read (it is empty, 0 bytes)" in said.out
    assert said.out.splitlines()[-1] == "to be put right: 1"
    assert not said.err  # no progress where nobody looks


def test_json_has_everything(photos, capsys):
    (photos / "cat" / "0.png").write_bytes(b"")
    assert run(["check", str(photos), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 12
    assert found["counts"] == {"": {"cat": 6, "dog": 6}}
    assert list(found["unreadable"]) == [str(photos / "cat" / "0.png")]
    assert found["width"] == {"min": 30, "median": 30, "max": 30}


def test_the_contact_sheet_shows_each_class(photos, tmp_path, capsys):
    (photos / "cat" / "0.png").write_bytes(b"")
    sheet = tmp_path / "sheet.html"
    assert run(["check", str(photos), "--contact-sheet", str(sheet)]) == 2
    page = sheet.read_text()
    assert page.count("data:image/png;base64") == 11
    assert page.count("it is empty, 0 bytes") == 1
    assert ">cat<" in page
    assert ">dog<" in page


def test_the_contact_sheet_is_refused_before_the_work(photos, tmp_path):
    for name, complaint in (("sheet.png", "end it in .html"), ("there.html", "there.html exists")):
        (tmp_path / "there.html").touch()
        with pytest.raises(UserError, match=complaint):
            run(["check", str(photos), "--contact-sheet", str(tmp_path / name)])
    assert not (tmp_path / "sheet.png").exists()


def test_no_data(tmp_path):
    with pytest.raises(UserError, match="there is no data at"):
        run(["check", str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="invalid choice"):
        run(["chekc", str(tmp_path)])


def test_names_are_shown_as_they_are_and_do_nothing(photos, tmp_path, capsys):
    (photos / "cat").rename(photos / "[red]:cat:\x1b[31m")
    (photos / "dog" / "0.png").rename(photos / "dog" / os.fsdecode(b"\xff<b>.png"))
    assert run(["check", str(photos), "--contact-sheet", str(tmp_path / "sheet.html")]) == 0
    shown = capsys.readouterr().out
    assert "[red]:cat:\\x1b[31m" in shown
    assert "\x1b" not in shown
    page = (tmp_path / "sheet.html").read_text()
    assert "\\udcff&lt;b&gt;.png" in page
    assert "<b>" not in page


def test_the_contact_sheet_of_many_classes_is_cut(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("muntin.cli.contact_sheet.SECTIONS", 1)
    run(["check", str(photos), "--contact-sheet", str(tmp_path / "sheet.html")])
    page = (tmp_path / "sheet.html").read_text()
    assert "the first 1 of 2 classes in a split" in page
    assert page.count("data:image/png;base64") == 6
