import pytest

from muntin.data import open_data
from muntin.data.sources.csv import Table
from muntin.errors import UserError


@pytest.fixture
def table(pictures):
    """A function that writes a CSV file beside the pictures a.png .. d.png."""

    def write(text: str, encoding: str = "utf-8"):
        root = pictures("a.png", "b.png", "sub/c.png", "d.png")
        (root / "list.csv").write_text(text, encoding=encoding)
        return root / "list.csv"

    return write


def test_paths_are_relative_to_the_file(table, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    source = Table(table("label,path\nyes, a.png\nno,sub/c.png\n\n", encoding="utf-8-sig"))
    assert source.classes == ("no", "yes")
    assert [source.label(i) for i in range(2)] == [1, 0]
    assert source.read(1).inputs["image"].size == (12, 10)


def test_numbers_are_sorted_as_numbers(table):
    assert Table(table("path,label\na.png,10\nb.png,9\n")).classes == ("9", "10")


def test_a_split_column(table):
    train, val = open_data(table("path,label,split\na.png,x,train\nb.png,y,train\nd.png,y,valid\nsub/c.png,x,val\n"))
    assert (len(train), len(val)) == (2, 2)
    assert val.read(0).target == {"label": 1}


def test_without_a_split_column_a_share_is_held_out(table):
    train, val = open_data(table("path,label\na.png,x\nb.png,y\nd.png,y\nsub/c.png,x\n"), val_share=0.5)
    assert (len(train), len(val)) == (2, 2)


def test_labels_are_not_needed_for_pre_training(table):
    train, val = open_data(table("path\na.png\nb.png\n"), labelled=False, val_share=0)
    assert (len(train), val, train.classes, train.label(0)) == (2, None, (), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column path, label.*found: nothing"),
        ("a.png,x\nb.png,y\n", r"has no column path, label.*found: a\.png, x"),
        ("path;label\na.png;x\n", "has no column path, label"),
        ("path,label\n", "is empty; it needs one line a picture"),
        ("path,label\na.png,x\nb.png\n", "line 3: no label"),
        ("path,label\na.png,x\nb.png,x\n", r"has one class \(x\)"),
        ("path,label\na.png,x\ne.png,y\nf.png,y\n", r"lists 2 of 3 files that do not exist.*e\.png.*f\.png"),
        ("path,label,split\na.png,x,test\n", "line 2: unknown split 'test'; use train or val"),
        ("path,label,split\na.png,x,val\nb.png,y,val\n", "nothing to train on"),
        (
            "path,label,split\na.png,x,train\nb.png,y,train\nd.png,x,val\nsub/c.png,z,val\n",
            "val has 1 class missing from train: z; train has 1 class missing from val: y",
        ),
    ],
)
def test_what_is_wrong_is_said(table, text, message):
    with pytest.raises(UserError, match=message):
        open_data(table(text))


def test_other_files_are_refused(pictures):
    root = pictures("a.png")
    with pytest.raises(UserError, match=r"a\.png is a file; muntin needs a folder"):
        open_data(root / "a.png")
    (root / "b.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(UserError, match=r"b\.csv is not a CSV file in UTF-8"):
        open_data(root / "b.csv")
