import io
import tarfile
import time
import tracemalloc

import pytest

from muntin.data.sources.shards.tar_index import BLOCK, members
from muntin.errors import UserError

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def _tar(*infos, how=tarfile.PAX_FORMAT):
    """A tar file in memory of (name, content), or of a TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=how) as tar:
        for info in infos:
            content = b""
            if isinstance(info, tuple):
                info, content = tarfile.TarInfo(info[0]), info[1]
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _walk(content):
    return list(members(io.BytesIO(content), "a.tar"))


@pytest.mark.parametrize("how", FORMATS)
def test_members_lie_where_tarfile_finds_them(how):
    names = ["1.jpg", "b/2.jpg", "ü/3.jpg", f"{'long/' * 20}4.jpg", "empty.txt"]
    if how != tarfile.USTAR_FORMAT:
        names.append("x" * 300 + ".jpg")
    content = _tar(*[(name, name.encode() * 100 * (name != "empty.txt")) for name in names], how=how)
    found = _walk(content)
    assert [member.name for member in found] == names
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [(m.name, m.offset_data, m.size) for m in tar.getmembers()] == [tuple(member) for member in found]


def test_sizes_of_extended_and_binary_headers_count():
    info = tarfile.TarInfo("big")
    info.size = 9 * 2**30  # above what octal digits can say
    for how in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        header = info.tobuf(how)
        with pytest.raises(UserError, match="inside big"):  # known to be too large for the file, not read
            _walk(header + bytes(2 * BLOCK))


def test_folders_are_passed_over_and_names_are_only_names():
    folder = tarfile.TarInfo("photos")
    folder.type = tarfile.DIRTYPE
    found = _walk(_tar(folder, ("../../etc/passwd", b"1"), ("/absolute.jpg", b"2")))
    assert [member.name for member in found] == ["../../etc/passwd", "/absolute.jpg"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "of the unknown type b'Z'"),
    ],
)
def test_links_devices_and_others_are_refused_with_their_names(kind, what):
    info = tarfile.TarInfo("strange.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(UserError, match=rf"a\.tar!strange\.jpg is {what}; a shard holds plain files only"):
        _walk(_tar(("1.jpg", b"1"), info, how=tarfile.GNU_FORMAT))


def test_sparse_files_of_pax_are_refused():
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"GNU.sparse.realsize": "1000000"}
    with pytest.raises(UserError, match="holds a sparse file"):
        _walk(_tar(info))


def test_a_cut_is_noticed_wherever_it_is():
    whole = _tar(("1.jpg", b"x" * 700), ("y" * 120 + ".jpg", b"y" * 700))
    end = 512 * (1 + 2 + 2 + 1 + 2)  # header, content; extended header and its text, header, content
    assert len(_walk(whole)) == 2
    for length in range(0, end + BLOCK, 37):
        with pytest.raises(UserError, match=f"is cut off after {length:,} bytes"):
            _walk(whole[:length])
    assert len(_walk(whole[: end + BLOCK])) == 2


def test_what_is_no_tar_file_or_damaged_says_so():
    whole = bytearray(_tar(("1.jpg", b"x" * 700), ("2.jpg", b"y" * 700)))
    with pytest.raises(UserError, match=r"is no tar file.*is it compressed"):
        _walk(b"\x1f\x8b" + bytes(whole))
    whole[3 * BLOCK + 5] ^= 1
    with pytest.raises(UserError, match="damaged at byte 1,536: no header"):
        _walk(bytes(whole))
    with pytest.raises(UserError, match="cannot be glued together"):
        _walk(_tar(("1.jpg", b"1")) + _tar(("2.jpg", bytes(2**21))))


def test_claims_cost_neither_time_nor_memory():
    longname = tarfile.TarInfo("././@LongLink")
    longname.type, longname.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30
    extended = tarfile.TarInfo("pax")
    extended.type, extended.size = tarfile.XHDTYPE, 2**20
    many = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT) * 20_000
    tracemalloc.start()
    start = time.process_time()
    for content in (
        longname.tobuf(tarfile.GNU_FORMAT) + bytes(4 * BLOCK),
        extended.tobuf(tarfile.USTAR_FORMAT) + b"9" * 2**20 + bytes(BLOCK),
        extended.tobuf(tarfile.USTAR_FORMAT) + b"1 " * 2**19 + bytes(BLOCK),
    ):
        with pytest.raises(UserError, match="damaged at byte 0"):
            _walk(content)
    assert sum(1 for _ in members(io.BytesIO(many + bytes(BLOCK)), "many.tar")) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 2**26
    assert time.process_time() - start < 20
    tracemalloc.stop()


def test_too_many_members(monkeypatch):
    monkeypatch.setattr("muntin.data.sources.shards.tar_index.MEMBER_LIMIT", 3)
    with pytest.raises(UserError, match="more than 3 members; pack it as several"):
        _walk(_tar(*[(f"{n}.jpg", b"") for n in range(4)]))
