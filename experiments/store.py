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

from gradflow.files import whole_file

_STALE = 600.0  # seconds after which an unfinished file is nobody's any more


class Corrupt(ValueError):
    """A cell file that is damaged or of another cell."""


class NoSpace(OSError):
    """The disk is full."""


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
        return self.folder / f"{name}.nc"

    def checkpoint(self, name: str) -> Path:
        """Where a long cell keeps its state; the folder is made."""
        folder = self.folder / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.npz"

    def names(self) -> set[str]:
        """Of the cells that are there."""
        return {path.stem for path in self.folder.glob("*.nc")}

    def checkpoints(self) -> set[str]:
        """Names of what was interrupted and will be gone on with."""
        return {path.stem for path in (self.folder / "checkpoints").glob("*.npz")}

    def prepare(self) -> None:
        """Make the folder, see that it can be written to, and clear what a kill left half done.

        Raises:
          PermissionError: if it cannot be written to.
          NoSpace: if the disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe.{uuid.uuid4().hex}"
            probe.write_bytes(b"0" * 4096)
            probe.unlink()
        except OSError as error:
            raise _explained(error, self.folder) from error
        for part in self.folder.rglob("*.part"):
            try:
                if time.time() - part.stat().st_mtime > _STALE:
                    part.unlink()
            except FileNotFoundError:
                pass

    def save(self, name: str, data: xr.Dataset, about: dict[str, Any]) -> None:
        """Store a cell, with what it is.

        Args:
          name: of the cell.
          data: its numbers.
          about: plain values for its attributes.

        Raises:
          NoSpace: if the disk is full; what was there before stays.
          PermissionError: if the folder cannot be written to.
        """
        attributes = {key: json.dumps(value, sort_keys=True) for key, value in about.items()}
        data = data.assign_attrs(content_sha256=digest(data), **attributes)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path(name)) as temporary:
                data.to_netcdf(temporary, engine="h5netcdf")
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
        except OSError as error:
            raise _explained(error, self.folder) from error

    def load(self, name: str) -> xr.Dataset:
        """Read a cell.

        Raises:
          FileNotFoundError: if it is not there.
          Corrupt: if its file is damaged.
        """
        path = self.path(name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        try:
            with xr.open_dataset(path, engine="h5netcdf") as file:
                data = file.load()
            whole = data.attrs["content_sha256"] == digest(data)
        except Exception as error:  # h5py raises many kinds on damaged files
            raise Corrupt(f"{path} cannot be read ({error}); delete it and run again.") from error
        if not whole:
            raise Corrupt(f"{path} is damaged (its checksum differs); delete it and run again.")
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


def _explained(error: OSError, folder: Path) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"The disk of {folder} is full; free some space and run again.")
    # The library below HDF5 tells no errno: look whether there is room.
    try:
        if os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < 1 << 20:
            return NoSpace(f"The disk of {folder} is full; free some space and run again.")
    except (OSError, AttributeError):
        pass
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return PermissionError(f"{folder} cannot be written to; choose another with --out.")
    return error
