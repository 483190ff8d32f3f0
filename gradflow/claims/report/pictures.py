"""Pictures of claims, drawn from the same exact flows that the verdicts rest on."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from gradflow._util.files import whole_file
from gradflow.claims.definition import Claim

BLUE, ORANGE, RED, PINK, BLACK = "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#000000"


def draw(claims: Sequence[Claim]) -> dict[str, bytes]:
    """PNG pictures for those of the claims that have one; one for all parts of a theorem.

    Args:
      claims: those that were checked.

    Returns:
      PNG images by the id of the first claim that they illustrate.
    """
    first: dict[Callable[[], Figure], str] = {}
    for made in claims:
        if made.picture is not None:
            first.setdefault(made.picture, made.id)
    return {id: _png(figure()) for figure, id in first.items()}


def save(pictures: dict[str, bytes], folder: Path) -> list[Path]:
    """Write the pictures as `<theorem>.png` into a folder, which is made if need be."""
    files = []
    for id, data in pictures.items():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{'.'.join(id.split('.')[:2])}.png"
        with whole_file(file) as temporary:
            temporary.write_bytes(data)
        files.append(file)
    return files


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
