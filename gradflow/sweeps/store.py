"""Where cells are kept: one NetCDF file each, written whole or not at all, checked when read."""

import errno
import hashlib
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gradflow._util.netcdf import from_file, in_memory
from gradflow._util.sealed import Damaged, write_sealed
from gradflow.sweeps import layout

_STALE = 600.0  # seconds after which an unfinished file is nobody's any more


class Corrupt(ValueError):
    """A cell file that is damaged or of another cell."""


class NoSpace(OSError):
    """The disk is full."""


class Unwritable(PermissionError):
    """The folder cannot be made or written to."""


class Store:
    """A folder of cells.

    Args:
      folder: made when first written to.

    Example:
      >>> import tempfile, xarray
      >>> store = Store(Path(tempfile.mkdtemp()) / "own.sweep")
      >>> store.save("a1", xarray.Dataset({"x": 2.0}), {"cell": {"depth": 3}})
      >>> float(store.load("a1")["x"]), store.names()
      (2.0, {'a1'})
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Of a cell."""
        return layout.cell(self.folder, name)

    def checkpoint(self, name: str) -> Path:
        """Where a long cell keeps its state; the folder is made."""
        path = layout.checkpoint(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def note(self, name: str) -> Path:
        """Where a cell in flight tells how far it is; the folder is made by who writes it."""
        return layout.note(self.folder, name)

    def names(self) -> set[str]:
        """Of the cells that are there."""
        return set(layout.cells(self.folder))

    def checkpoints(self) -> set[str]:
        """Names of what was interrupted and will be gone on with."""
        return layout.checkpoints(self.folder)

    def prepare(self) -> None:
        """Make the folder, see that it can be written to, and clear what a kill left half done.

        Raises:
          Unwritable: if it cannot be written to.
          NoSpace: if the disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe.{uuid.uuid4().hex}"
            probe.write_bytes(b"0" * 4096)
            probe.unlink()
        except OSError as error:
            raise _explained(error, self.folder) from error
        for old in [*self.folder.rglob("*.part"), *layout.notes(self.folder)]:
            try:
                if time.time() - old.stat().st_mtime > _STALE:
                    old.unlink()
            except FileNotFoundError:
                pass
        for name in self.names():  # killed between storing and clearing away
            for left in (layout.checkpoint(self.folder, name), self.note(name)):
                left.unlink(missing_ok=True)

    def save(self, name: str, data: xr.Dataset, about: dict[str, Any]) -> None:
        """Store a cell, with what it is.

        Args:
          name: of the cell.
          data: its numbers.
          about: plain values for its attributes.

        Raises:
          ValueError: if something in it is neither number nor text.
          NoSpace: if the disk is full; what was there before stays.
          Unwritable: if the folder cannot be written to.
        """
        for variable in data.variables:
            if data[variable].dtype.kind == "O":
                raise ValueError(
                    f"{variable} holds Python objects, which a cell cannot store; make it an array "
                    "of numbers or text."
                )
        attributes = {key: json.dumps(value, sort_keys=True) for key, value in about.items()}
        data = data.assign_attrs(content_sha256=digest(data), **attributes)
        data.attrs["labels_sha256"] = digest_of_labels(data)
        content = in_memory(data)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_sealed(self.path(name), content)
        except OSError as error:
            raise _explained(error, self.folder) from error

    def load(self, name: str) -> xr.Dataset:
        """Read a cell.

        Raises:
          FileNotFoundError: if it is not there.
          Corrupt: if its file is damaged or of another cell.
        """
        path = self.path(name)
        try:
            data = from_file(path)
            whole = data.attrs["content_sha256"] == digest(data)
            whole &= data.attrs["labels_sha256"] == digest_of_labels(data)
        except FileNotFoundError:
            raise
        except Damaged as error:
            raise Corrupt(f"{path} is damaged ({error}); delete it and run again.") from error
        except Exception as error:  # h5py raises many kinds on damaged files
            raise Corrupt(f"{path} cannot be read ({error}); delete it and run again.") from error
        if not whole:
            raise Corrupt(f"{path} is damaged (its checksum differs); delete it and run again.")
        if "item" in data.attrs and name_of(data.attrs["item"]) != name:
            raise Corrupt(f"{path} holds another cell than its name says; delete it and run again.")
        return data

    def set_aside(self, name: str) -> Path:
        """Rename a damaged cell, so that it is done again; returns the new path."""
        path = self.path(name)
        aside = path.with_suffix(".corrupt")
        os.replace(path, aside)
        return aside


def digest(data: xr.Dataset) -> str:
    """SHA-256 of all names, shapes and values of a dataset."""
    found = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        array = np.ascontiguousarray(data[name].to_numpy())
        found.update(f"{name}{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def digest_of_labels(data: xr.Dataset) -> str:
    """SHA-256 of all attributes and dimensions of a dataset, but for that of this digest."""
    labels = {k: str(v) for k, v in data.attrs.items() if k != "labels_sha256"}
    dimensions = {str(name): list(map(str, data[name].dims)) for name in data.variables}
    return hashlib.sha256(json.dumps([labels, dimensions], sort_keys=True).encode()).hexdigest()


def name_of(item: str) -> str:
    """The name of a cell from the JSON text of everything that determines it."""
    return hashlib.sha256(item.encode()).hexdigest()[:20]


def full(error: OSError, folder: Path) -> NoSpace | None:
    """That the disk is full, if this is what an error says."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"The disk of {folder} is full; free some space and run again.")
    return None


def _explained(error: OSError, folder: Path) -> OSError:
    known = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
    if error.errno in known:
        reason = os.strerror(error.errno).lower()
        return Unwritable(f"{folder} cannot be written to ({reason}); choose another with --out.")
    return full(error, folder) or error
