"""Real data: the MovieLens 100K ratings, read from where the user has them, never copied."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from gradflow.problems.ratings import Ratings, read_ratings

_PACKAGE_FILE = "data/movielens100k.csv"
_SHA256 = "4cee70466ec9b2c39ff51e15853e12e481a31c92977db7e7e614b40a1ef31cc8"


def movielens_100k(path: str | Path | None = None) -> Ratings:
    """Read the 100,000 ratings of MovieLens 100K.

    Args:
      path: a `u.data` file, or any other that `read_ratings` reads. By default the file inside the
        package `neighbors` is used, without importing that package.

    Returns:
      The ratings, 943 users by 1682 items.

    Raises:
      FileNotFoundError: if there is neither a path nor the package; it says how to get either.
      ValueError: if the package's file is not the one expected, or a line cannot be read; it names
        the line and the remedy.

    References:
      Harper and Konstan 2015, The MovieLens Datasets: History and Context.
    """
    if path is None:
        spec = find_spec("neighbors")
        places = list(spec.submodule_search_locations or []) if spec else []
        found = [Path(place) / _PACKAGE_FILE for place in places]
        found = [file for file in found if file.is_file()]
        if not found:
            raise FileNotFoundError(
                "The MovieLens 100K ratings are not here. Install them with "
                "`pip install --no-deps neighbors==0.2.1`, or pass the path of a u.data file."
            )
        path = found[0]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != _SHA256:
            raise ValueError(
                f"{path} has SHA-256 {digest}, not {_SHA256}; "
                "reinstall it with `pip install --no-deps --force-reinstall neighbors==0.2.1`."
            )
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the path of a u.data file.")
    return read_ratings(path)
