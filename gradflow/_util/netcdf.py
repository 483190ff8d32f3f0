"""Datasets as the content of NetCDF files."""

import io
from typing import TYPE_CHECKING

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
