"""Which file is where in a folder of cells; nothing is read, so that a listing costs nothing."""

from pathlib import Path


def cell(folder: Path, name: str) -> Path:
    """The numbers of a cell."""
    return folder / f"{name}.nc"


def cells(folder: Path) -> dict[str, Path]:
    """The cells that are there, by name."""
    return {path.stem: path for path in folder.glob("*.nc")}


def checkpoint(folder: Path, name: str) -> Path:
    """Where a long cell keeps its state."""
    return folder / "checkpoints" / f"{name}.npz"


def checkpoints(folder: Path) -> set[str]:
    """Names of what was interrupted and will be gone on with."""
    return {path.stem for path in (folder / "checkpoints").glob("*.npz")}


def note(folder: Path, name: str) -> Path:
    """Where a cell in flight tells how far it is."""
    return folder / "live" / f"{name}.json"


def notes(folder: Path) -> list[Path]:
    """The notes that are there, also those of runs that were killed."""
    return list((folder / "live").glob("*.json"))
