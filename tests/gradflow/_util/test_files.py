"""Files at the paths that users give: folders, devices, links, pipes."""

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from gradflow._util.files import see_writable, whole_file
from gradflow._util.misuse import in_words

needs_devices = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev")
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="needs links")


def write(path, text="new"):
    with whole_file(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("name", [None, "other.txt"])
def test_a_full_disk_says_whose_file_it_had_no_room_for(tmp_path, name):
    path = tmp_path / "a.txt"
    write(path, "old")
    with pytest.raises(OSError) as caught, whole_file(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", name)
    assert in_words(caught.value) == (
        "other.txt: no space left on device." if name
        else f"{path} cannot be written to (no space left on device); name another file."
    )  # fmt: skip
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


@needs_links
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "a.txt", tmp_path / "a.txt"
    target.write_text("old")
    link.symlink_to(target)
    see_writable(link)
    write(link)
    assert link.is_symlink() and target.read_text() == "new"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.txt"]


@needs_links
def test_a_link_to_nothing_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a.txt").read_text() == "new"


@needs_links
def test_links_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "off").symlink_to(tmp_path / "none" / "a.txt")
    for name, message in (
        ("round", "cannot be written to"),
        ("off", "whose folder does not exist"),
    ):
        for function in (see_writable, write):
            with pytest.raises(OSError, match=message):
                function(tmp_path / name)
        assert (tmp_path / name).is_symlink()


@needs_devices
def test_a_device_stays_one():
    before = os.stat("/dev/full").st_mode
    with pytest.raises(OSError, match=r"/dev/full cannot be written to \(no space left"):
        write("/dev/full")
    assert os.stat("/dev/full").st_mode == before and stat.S_ISCHR(before)
    see_writable("/dev/null")
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@needs_devices
def test_a_link_to_a_device_stays_one(tmp_path):
    (tmp_path / "a.txt").symlink_to("/dev/null")
    write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode)


@needs_devices
def test_what_the_system_has_no_room_for_is_refused():
    for path in ("/proc/none.txt", "/dev/none.txt"):
        with pytest.raises(OSError, match="cannot be written to"):
            see_writable(path)
    with pytest.raises(FileNotFoundError, match="/proc/x does not exist"):
        see_writable("/proc/x/a.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_written_to_if_somebody_reads_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="cannot be written to"):
        write(tmp_path / "pipe")
    read, begun = [], threading.Event()

    def reader():
        number = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(number, True)
        begun.set()
        while not (found := os.read(number, 100)):
            pass
        read.append(found)
        os.close(number)

    thread = threading.Thread(target=reader)
    thread.start()
    begun.wait()
    see_writable(tmp_path / "pipe")
    write(tmp_path / "pipe")
    thread.join()
    assert read == [b"new"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_folders_and_missing_folders_are_refused(tmp_path):
    for function in (see_writable, write):
        with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
            function(tmp_path)
        with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
            function(tmp_path / "none" / "a.txt")
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError, match="file does not exist; create it first"):
        see_writable(tmp_path / "file" / "a.txt")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot be written to"):
        see_writable(tmp_path / "a.txt")
    tmp_path.chmod(0o700)


def test_seeing_changes_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    see_writable(tmp_path / "a.txt")
    see_writable(tmp_path / "b.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_and_long_names_are_kept(tmp_path):
    path = tmp_path / ("é" * 120)
    write(path, "old")
    path.chmod(0o600)
    write(path)
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_too_long_is_refused(tmp_path):
    with pytest.raises(OSError, match="cannot be written to"):
        see_writable(tmp_path / ("a" * 300))
