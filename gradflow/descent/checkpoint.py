"""Long descents that survive a kill: their whole state in one file, now and then."""

import hashlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.sealed import see_seal, write_sealed
from gradflow._util.validate import positive


@dataclass(frozen=True)
class Checkpoint:
    """Where a descent keeps its state on the way, and how often.

    A run that finds the file goes on from there, and on the same machine ends with the same bits as
    one that was never stopped; runs side by side (a batch, not on a CPU) do so to rounding. The
    file stays; delete it once the result is stored.

    Args:
      path: the file; its folder must exist.
      seconds: at least this long between two writings.

    Example:
      >>> import pathlib, tempfile, optax, gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = gf.factorizations.identity_factors((2, 2, 2), 1e-2)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     run = gf.run_descent(
      ...         objective,
      ...         start,
      ...         optax.sgd,
      ...         learning_rate=0.1,
      ...         max_steps=1000,
      ...         checkpoint=Checkpoint(pathlib.Path(folder) / "run.npz", seconds=30),
      ...     )
      >>> run.stats["steps"]
      1000
    """

    path: Path
    seconds: float = 30.0


class Broken(ValueError):
    """A checkpoint's file that is damaged or of another run."""


class Keeper:
    """Reads and writes one run's checkpoint, if there is any to keep.

    Args:
      checkpoint: where and how often; None for never.
      key: everything that determines the run, as plain values.
    """

    def __init__(self, checkpoint: Checked[Checkpoint | None], key: Any):
        self.checkpoint = checkpoint
        self.digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode())
        self.written = time.monotonic()
        if checkpoint is not None:
            if not isinstance(checkpoint, Checkpoint):
                raise ValueError(
                    f"checkpoint must be a gradflow.Checkpoint(path), but it is {checkpoint!r}."
                )
            positive("checkpoint.seconds", checkpoint.seconds)
            folder = Path(checkpoint.path).parent
            if not folder.is_dir():
                raise FileNotFoundError(f"The folder {folder} does not exist; create it first.")

    def due(self) -> bool:
        """Whether it is time to write."""
        return (
            self.checkpoint is not None
            and time.monotonic() - self.written >= self.checkpoint.seconds
        )

    def write(self, state: Any, plain: dict[str, Any]) -> None:
        """Write a tree of arrays, and plain values."""
        if self.checkpoint is None:
            return
        arrays = map(np.asarray, jax.tree.leaves(state))
        leaves: dict[str, Any] = {f"leaf_{k}": array for k, array in enumerate(arrays)}
        about = json.dumps({"key": self.digest.hexdigest(), "leaves": len(leaves), **plain})
        content = io.BytesIO()
        np.savez(content, about=np.array(about), **leaves)
        # Someone may have cleared the folder away in the meantime.
        Path(self.checkpoint.path).parent.mkdir(parents=True, exist_ok=True)
        write_sealed(self.checkpoint.path, content.getvalue())
        self.written = time.monotonic()

    def read(self) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """The leaves and plain values that were written; None if there is no file.

        Raises:
          Broken: if the file is damaged or of another run.
        """
        if self.checkpoint is None or not Path(self.checkpoint.path).is_file():
            return None
        path = self.checkpoint.path
        try:
            see_seal(path)
            with np.load(path, allow_pickle=False) as file:
                plain = json.loads(str(file["about"]))
                leaves = [file[f"leaf_{k}"] for k in range(plain.pop("leaves"))]
                key = plain.pop("key")
        except Exception as error:  # a damaged archive may raise almost anything
            raise Broken(
                f"{path} cannot be read as a checkpoint ({error}); delete it to begin anew."
            ) from error
        if key != self.digest.hexdigest():
            raise Broken(f"{path} is the checkpoint of another run; delete it or move it away.")
        return leaves, plain
