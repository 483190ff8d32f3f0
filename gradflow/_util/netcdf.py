"""Datasets in sealed NetCDF files."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from gradflow._util.sealed import see_seal

if TYPE_CHECKING:
    import xarray as xr


def in_memory(data: "xr.Dataset") -> bytes:
    """A dataset as the content of a NetCDF file.

    In memory, since on a full disk HDF5 may end the process.
    """
    from xarray.backends import H5NetCDFStore  # half a second to import
    from xarray.backends.locks import HDF5_LOCK

    content = io.BytesIO()
    # As to_netcdf does, but without its lock, which a worker of dask asks the whole cluster for.
    file = H5NetCDFStore.open(content, mode="w", lock=HDF5_LOCK)
    data.dump_to_store(file)
    file.close()
    return content.getvalue()


def from_file(path: str | Path) -> "xr.Dataset":
    """The dataset in a file, whose seal, if it has one, is compared before anything is parsed.

    Raises:
      FileNotFoundError: if there is no such file.
      Damaged: if the seal does not fit.
      Exception: of many kinds, from h5py, if it is no NetCDF file.
    """
    import xarray as xr

    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    see_seal(path)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()
