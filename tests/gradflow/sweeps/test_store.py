import dataclasses
import errno
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gradflow._util import sealed
from gradflow.sweeps import experiment as engine
from gradflow.sweeps import store as stores
from gradflow.sweeps.experiment import Item
from gradflow.sweeps.store import Corrupt, NoSpace, Store, Unwritable
from tests.gradflow.sweeps.own_sweep import Cell, Sweep

CELL = Cell(rate=0.1, seed=0, steps=10, stop_loss=1e-3, pause=0.0, fault="")
ITEM = Item(CELL)


def bits(data):
    """All that a cell's numbers are: dimensions, types and bytes."""
    return {
        str(name): (array.dims, array.dtype.str, array.shape, array.to_numpy().tobytes())
        for name, array in data.variables.items()
    }


def contents(folder):
    """Every cell of a store: its numbers and what determines them, without times and places."""
    store, found = Store(folder), {}
    for name in store.names():
        data = store.load(name)
        wanted = ("item", "experiment", "outcome", "config")
        found[name] = (bits(data), {key: data.attrs.get(key) for key in wanted})
    return found


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "loss": ("time", rng.exponential(size=50)),
            "spectrum": (("time", "k"), rng.normal(size=(50, 3))),
            "odd": ("place", np.array([np.nan, np.inf, -0.0, 5e-324])),
            "single": np.float32(1 / 3),
            "count": np.int64(2**62 + 1),
            "flags": ("flag", np.array([True, False, True])),
            "none": ("empty", np.zeros(0)),
            "word": "ℓ = ½",
        },
        coords={"time": np.arange(50)},
        attrs={"outcome": "REACHED_LOSS", "seconds": 1.25, "config": "x" * 100_000},
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "own.sweep")


def save(store, data, item=ITEM):
    name = Sweep().name(item)
    store.save(name, data, {"item": Sweep().describe(item), "experiment": "own.sweep"})
    return name


def test_what_is_loaded_is_what_was_saved_to_the_bit(store, data):
    name = save(store, data)
    loaded = store.load(name)
    assert bits(loaded) == bits(data)
    assert {key: loaded.attrs[key] for key in data.attrs} == data.attrs
    assert json.loads(loaded.attrs["item"])["cell"]["rate"] == 0.1
    assert store.names() == {name}
    assert [path.name for path in store.folder.iterdir()] == [f"{name}.nc"]


def test_a_dataset_without_anything_is_a_cell_too(store):
    store.save("empty", xr.Dataset(), {})
    assert bits(store.load("empty")) == {}


def test_what_is_neither_number_nor_text_is_refused(store):
    with pytest.raises(ValueError, match=r"best holds Python objects, .* numbers or text"):
        store.save("a", xr.Dataset({"best": np.asarray(None)}), {})
    assert not store.folder.exists()


def test_a_cell_that_is_not_there(store):
    with pytest.raises(FileNotFoundError, match=r"a1\.nc"):
        store.load("a1")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError(errno.EIO, "gone")])
def test_an_interrupted_write_leaves_the_old_file(error, store, data, monkeypatch):
    name = save(store, data)

    def interrupt(_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            save(store, data.assign(loss=2 * data["loss"]))
    assert bits(store.load(name)) == bits(data)
    assert len(list(store.folder.iterdir())) == 1


@contextmanager
def full_disk(path):
    yield Path("/dev/full")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named_and_costs_nothing(store, data, monkeypatch):
    name = save(store, data)
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "whole_file", full_disk)
        with pytest.raises(NoSpace, match=r"The disk of .*own\.sweep is full; free some space"):
            save(store, data.assign(loss=2 * data["loss"]))
    assert bits(store.load(name)) == bits(data)


@pytest.mark.parametrize(
    "code, kind, message",
    [
        (errno.ENOSPC, NoSpace, "is full; free some space and run again"),
        (errno.EDQUOT, NoSpace, "is full; free some space and run again"),
        (errno.EACCES, Unwritable, "cannot be written to .* choose another with --out"),
        (errno.EROFS, Unwritable, "cannot be written to .* choose another with --out"),
        (errno.ENOTDIR, Unwritable, "cannot be written to .* choose another with --out"),
        (errno.EIO, OSError, "what the system said"),
    ],
)
def test_what_the_system_says_is_explained(code, kind, message, store, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, "what the system said")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(kind, match=message):
        store.prepare()


def test_a_folder_below_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"not a directory.*choose another with --out"):
        Store(tmp_path / "file" / "own.sweep").prepare()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Unwritable, match=r"permission denied.*choose another with --out"):
        Store(tmp_path / "own.sweep").prepare()
    tmp_path.chmod(0o700)


def test_no_flipped_byte_goes_unseen(store, data):
    name = save(store, data)
    path, whole = store.path(name), store.load(name)
    content = bytearray(path.read_bytes())
    rng, caught = np.random.default_rng(1), 0
    for at in rng.choice(len(content), 60, replace=False):
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            found = store.load(name)
        except Corrupt as error:
            assert str(path) in str(error) and "delete it and run again" in str(error)
            caught += 1
        else:  # a byte between the numbers, which HDF5 does not use
            assert bits(found) == bits(whole) and found.attrs == whole.attrs
    assert caught > 10


@pytest.mark.parametrize("what", ["loss", "outcome"])
def test_a_flipped_byte_in_numbers_or_words_is_seen(what, store, data):
    name = save(store, data)
    path = store.path(name)
    content = path.read_bytes()
    sought = data["loss"].to_numpy().tobytes()[:40] if what == "loss" else b"REACHED_LOSS"
    assert content.count(sought) == 1
    at = content.index(sought) + 3
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(Corrupt, match=f"{name}.nc is damaged .*; delete it and run again"):
        store.load(name)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_seen(share, store, data):
    name = save(store, data)
    path = store.path(name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Corrupt, match=f"{name}.nc cannot be read .*; delete it and run again"):
        store.load(name)


def test_the_file_of_another_cell_is_seen(store, data):
    name = save(store, data)
    other = Sweep().name(Item(dataclasses.replace(CELL, seed=1)))
    shutil.copy(store.path(name), store.path(other))
    with pytest.raises(Corrupt, match=f"{other}.nc holds another cell .*; delete it and run again"):
        store.load(other)


def test_a_cell_without_the_second_checksum_is_damaged(store, data):
    store.folder.mkdir()
    stored = data.assign_attrs(content_sha256=stores.digest(data))
    stored.to_netcdf(store.path("a1"), engine="h5netcdf")
    with pytest.raises(Corrupt, match="labels_sha256"):
        store.load("a1")


def test_a_damaged_file_is_set_aside(store, data):
    name = save(store, data)
    aside = store.set_aside(name)
    assert aside.name == f"{name}.corrupt" and aside.is_file()
    assert store.names() == set()


def old(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_what_a_kill_left_behind_is_cleared_once_it_is_stale(store):
    stale = [old(store.folder / at) for at in ("a.nc.1.part", "checkpoints/b.npz.2.part")]
    stale.append(old(store.folder / "live" / "c.json"))
    kept = old(store.folder / "checkpoints" / "d.npz")
    fresh = [store.folder / "e.nc.3.part", store.folder / "live" / "f.json"]
    for path in fresh:
        path.write_text("{}")
    store.prepare()
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in [kept, *fresh])
    assert store.checkpoints() == {"d"}


def test_what_a_kill_left_behind_of_a_stored_cell_is_cleared(store, data):
    name = save(store, data)
    store.note(name).parent.mkdir()
    for left in (store.checkpoint(name), store.note(name), store.checkpoint("another")):
        left.write_text("{}")
    store.prepare()
    assert store.checkpoints() == {"another"}
    assert not store.note(name).exists()


CHANGED = {"rate": 0.2, "seed": 1, "steps": 11, "stop_loss": 1e-4, "pause": 1.0, "fault": "error"}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Cell)])
def test_every_field_of_a_cell_is_in_its_name(field):
    changed = dataclasses.replace(CELL, **{field: CHANGED[field]})
    assert Sweep().name(Item(changed)) != Sweep().name(ITEM)


def variant(**attributes):
    return type("Variant", (Sweep,), attributes)()


def test_what_else_determines_a_cell_is_in_its_name(monkeypatch):
    fields = [(field.name, field.type) for field in dataclasses.fields(Cell)]
    kind = dataclasses.make_dataclass("OtherCell", fields, frozen=True)
    names = [
        Sweep().name(ITEM),
        Sweep().name(Item(CELL, "flow")),
        Sweep().name(Item(CELL, "own", "float32")),
        Sweep().name(Item(kind(**dataclasses.asdict(CELL)))),
        variant(version=2).name(ITEM),
        variant(family="another").name(ITEM),
    ]
    monkeypatch.setattr(engine, "NUMERICS", engine.NUMERICS + 1)
    names.append(Sweep().name(ITEM))
    assert len(set(names)) == len(names)


def test_nothing_else_is_in_a_name():
    other = variant(
        id="own.other", family="own.sweep", title="another", precision="float32", varies=(),
        hours={"paper": 1.0}, theirs=(1.0, "measured"),
    )  # fmt: skip
    assert other.name(ITEM) == Sweep().name(ITEM)
    assert other.name(Item(dataclasses.replace(CELL))) == Sweep().name(ITEM)


def test_a_name_stays_what_it_is():
    # A change here makes every stored cell unknown: then raise NUMERICS or a version on purpose.
    assert engine.NUMERICS == 1
    assert Sweep().name(ITEM) == "93854c5e4072a91b8fdd"
