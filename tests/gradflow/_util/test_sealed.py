"""Checksums that are compared before a file is parsed."""

import time

import h5py
import numpy as np
import pytest
import xarray as xr

import gradflow as gf
from gradflow._util import sealed
from gradflow._util.netcdf import in_memory
from gradflow._util.sealed import Damaged, see_seal, write_sealed
from gradflow.descent.checkpoint import Keeper
from gradflow.sweeps.store import Store
from gradflow.trajectory import Trajectory
from tests.gradflow.flips import ARRAY, KINDS, in_a_child, refused, unseen, write

DATA = xr.Dataset({"x": (("time", "k"), ARRAY)}, attrs={"about": "gradflow-trajectory-1"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_before_anything_is_parsed(kind, monkeypatch):
    def parsed(*_, **__):
        time.sleep(60)

    monkeypatch.setattr(xr, "open_dataset", parsed)
    monkeypatch.setattr(np, "load", parsed)
    assert unseen(kind, 20, seed=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_silent_or_hangs(kind):
    assert in_a_child(kind, 200, seed=2, seconds=120) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_the_seal_counts(kind, tmp_path):
    path, read = write(kind, tmp_path)
    content = path.read_bytes()
    for at in range(8 * (len(content) - sealed._LENGTH), 8 * len(content)):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        assert refused(read), at - 8 * len(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seal_cut_off_or_pushed_away_is_seen(kind, tmp_path):
    path, read = write(kind, tmp_path)
    content = path.read_bytes()
    for cut in range(1, sealed._LENGTH - 3):
        path.write_bytes(content[:-cut])
        assert refused(read), cut
    for more in (b"\n", b"\0" * 40):
        path.write_bytes(content + more)
        assert refused(read)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_seal_is_read_as_earlier_versions_wrote_it(kind, tmp_path):
    path, read = write(kind, tmp_path)
    read()
    assert see_seal(path)
    path.write_bytes(path.read_bytes()[: -sealed._LENGTH])
    assert not see_seal(path)
    found = read()
    if isinstance(found, Trajectory):
        np.testing.assert_array_equal(found["pair"], ARRAY)
    elif isinstance(found, tuple):
        np.testing.assert_array_equal(found[0][0], ARRAY)
    else:
        np.testing.assert_array_equal(found["x"], ARRAY)


def test_a_sealed_file_is_an_ordinary_one_for_other_readers(tmp_path):
    write_sealed(tmp_path / "a.nc", in_memory(DATA))
    assert see_seal(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as data:
        np.testing.assert_array_equal(data["x"], ARRAY)
    with h5py.File(tmp_path / "a.nc") as file:
        np.testing.assert_array_equal(file["x"][...], ARRAY)
    keeper, _ = write("checkpoint", tmp_path)
    with np.load(keeper) as file:
        np.testing.assert_array_equal(file["leaf_0"], ARRAY)


def test_words_of_the_content_are_no_seal(tmp_path):
    for end in (b"", b"gradflow sha256 ", b"\x89PNG\r\n\x1a\n", b"SEAL sha256", bytes(200)):
        (tmp_path / "a").write_bytes(b"content" + end)
        assert not see_seal(tmp_path / "a")


def test_a_large_file_is_compared_block_by_block(tmp_path):
    content = np.random.default_rng(0).bytes(5 * sealed._BLOCK // 2)
    write_sealed(tmp_path / "a", content)
    assert see_seal(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\0" + (tmp_path / "a").read_bytes()[1:])
    with pytest.raises(Damaged):
        see_seal(tmp_path / "a")


def test_checkpoints_go_on_when_their_folder_is_cleared_away(tmp_path):
    store = Store(tmp_path)
    path = store.checkpoint("a1")
    keeper = Keeper(gf.Checkpoint(path), "key")
    path.parent.rmdir()
    keeper.write({"a": ARRAY}, {"position": 3})
    assert keeper.read()[1] == {"position": 3}
