import pytest

from muntin.errors import UserError
from muntin.report import Page, sections


def test_recipe_shows_every_setting_in_its_group():
    page = Page("run")
    sections.recipe(
        page, {"name": "digits", "optim": {"lr": 0.001, "betas": [0.9, 0.999]}, "data": {"deep": {"x": True}}}
    )
    html = page.html()
    assert "4 settings" in html
    assert "<summary>optim</summary><dl><dt>lr</dt><dd>0.001</dd><dt>betas</dt><dd>0.9, 0.999</dd></dl>" in html
    assert "<dt>x</dt><dd>yes</dd>" in html


def test_recipe_values_are_escaped():
    page = Page("run")
    sections.recipe(page, {"place": "<script>", "<script>": {"<script>": 1}})
    assert "<script" not in page.html()


def test_environment_joins_nested_names():
    page = Page("run")
    sections.environment(page, {"torch": "2.13", "cpu": {"cores": 2}})
    assert "<dt>cpu.cores</dt><dd>2</dd>" in page.html()


def test_files_are_linked_with_their_sizes(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("x" * 1500)
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    (tmp_path / "checkpoints" / "best" / "a").write_text("12")
    (tmp_path / "checkpoints" / "b").write_text("1")
    (tmp_path / "report.html").write_text("an older page")
    page = Page("run")
    sections.files(page, tmp_path)
    html = page.html()
    assert '<a href="./metrics.jsonl"><code>metrics.jsonl</code></a></td><td>1.5 kB</td>' in html
    assert "<td>3 bytes in 2 files</td>" in html
    assert "report.html" not in html


def test_hostile_file_names_stay_text(tmp_path):
    (tmp_path / "<img src=x>").write_text("")
    (tmp_path / 'javascript:alert("1")').write_text("")
    page = Page("run")
    sections.files(page, tmp_path)
    html = page.html()
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not there"):
        sections.files(Page("run"), tmp_path / "nowhere")
