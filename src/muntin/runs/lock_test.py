import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from muntin.errors import UserError
from muntin.runs import lock
from muntin.runs.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from muntin.runs import lock
if sys.argv[2] == "no locks":
    lock._lock = lambda handle: (_ for _ in ()).throw(OSError(95, "not supported"))
with lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["locks", "no locks"])
def holder(request, tmp_path, monkeypatch):
    """Another process that holds the lock on tmp_path/run, on a file system with and without locks."""
    if request.param == "no locks":
        monkeypatch.setattr(lock, "_lock", _no_locks)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run"), request.param], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _no_locks(handle):
    raise OSError(errno.ENOTSUP, "Operation not supported")


def _enter(out):
    with locked(out):
        return sorted(path.name for path in out.parent.iterdir())


def test_a_second_run_is_refused_and_the_lock_of_a_dead_one_is_taken_over(holder, tmp_path):
    before = (tmp_path / ".run.lock").read_text()
    with pytest.raises(UserError, match=f"another run is at work in .*run: process {holder.pid} on .*, since 20"):
        _enter(tmp_path / "run")
    assert (tmp_path / ".run.lock").read_text() == before
    holder.kill()
    holder.wait()
    assert (tmp_path / ".run.lock").exists()
    assert _enter(tmp_path / "run") == [".run.lock"]
    assert not list(tmp_path.iterdir())


def test_the_same_folder_by_another_name_is_locked_too(holder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UserError, match="another run is at work"):
        _enter(tmp_path / "link" / "run")


def test_one_process_cannot_lock_a_folder_twice_but_can_one_after_the_other(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(UserError, match="another run of this process"):
        _enter(tmp_path / "run")
    _enter(tmp_path / "run")
    with locked(tmp_path / "run"), locked(tmp_path / "other"):
        pass


def test_the_lock_is_gone_and_so_are_folders_made_for_it_when_a_start_fails(tmp_path):
    def start():
        with locked(tmp_path / "deep" / "down" / "run"):
            assert (tmp_path / "deep" / "down" / ".run.lock").exists()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        start()
    assert not list(tmp_path.iterdir())


def _sign(file, **changes):
    file.write_text(json.dumps(lock._signature() | changes))


def test_without_locks_only_a_process_known_to_be_gone_is_overruled(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", _no_locks)
    file = tmp_path / ".run.lock"
    _sign(file, host="another-host")
    with pytest.raises(UserError, match=r"on another-host, since .*; if it is gone, delete .*\.run\.lock"):
        _enter(tmp_path / "run")
    _sign(file, process=os.getppid(), began=lock._began(os.getppid()))
    with pytest.raises(UserError, match=f"process {os.getppid()} on {socket.gethostname()}"):
        _enter(tmp_path / "run")
    if lock._began(os.getppid()):
        _sign(file, process=os.getppid(), began="1")  # its number belongs to another process now
        assert _enter(tmp_path / "run") == [".run.lock"]
    for text in ("", "{", "[]", "{}", json.dumps({"process": "x", "host": socket.gethostname()})):
        file.write_text(text)
        assert _enter(tmp_path / "run") == [".run.lock"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def closed(*given, **named):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UserError, match=r"run cannot be written: Permission denied; choose another --out"):
        _enter(tmp_path / "deep" / "run")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_left_without_a_lock(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match=f"run cannot be written: {os.strerror(errno.ENOSPC)}"):
        _enter(tmp_path / "deep" / "run")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
