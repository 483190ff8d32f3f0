r"""What a flow from a vanishing start does: a path of saddles, stored as NetCDF."""

import enum
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from gradflow._util.annotations import Checked
from gradflow._util.netcdf import from_file, in_memory
from gradflow._util.sealed import Damaged, write_sealed
from gradflow._util.validate import positive, real
from gradflow.saddles.errors import evaluate

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_CONVENTION = "gradflow-saddle-path-1"
_RECORDS = 200
"""Of each jump's way; all have as many, to be stacked."""


class SaddleOutcome(enum.Enum):
    """How a path of saddles ended. At all but the first three the limit is not determined."""

    MINIMUM = "reached a minimum"
    OUT_OF_COLUMNS = "has no column left"
    OUT_OF_JUMPS = "made as many jumps as were asked for"
    TIE = "came to a tie"
    NO_OVERLAP = "started without the direction that grows fastest"
    VANISHING_MINOR = "came to a vanishing minor"
    DECOUPLED = "is several problems in one"
    NOT_A_MINIMISER = "came to a saddle that its own columns leave"
    RANK_FELL = "came to a saddle of lower rank that is no minimum"
    NOT_UNIQUE = "came to a minimiser that is not unique"
    ZERO_RATE = "came to a largest rate of 0"
    STUCK = "waits for a direction that the start cannot take"
    SLOW_ORBIT = "did not come to rest"


class SaddlePath(eqx.Module):
    r"""The limit alpha -> 0 of flows from alpha^(1/degree) times a start: from saddle to saddle.

    At small alpha the flow stays close to `products[k]` until the jump k, at the time

        t_k = taus[k] c(alpha) + offsets[k] + o(1),

    with c(alpha) = ln(1/alpha) where parameters grow exponentially (degree 2), and c(alpha) =
    alpha^(-power), power = 1 - 2/degree, beyond. It is the time when the loss is half way between
    two saddles. In matrix products of depth 3 and more o(1) is true of the first jump and of
    aligned starts; of later ones o(c(alpha)), by powers that `predicted_error` has. Immutable.

    Attributes:
      products: (nodes, *shape) the saddles W_0 = 0, W_1, ...
      ranks: (nodes,) their ranks; of vectors, the numbers of entries that are not 0.
      losses: (nodes,) the losses there.
      rates: (nodes, modes) of columns: eigenvalues of F on the null space, falling, NaN beyond; of
        products of depth 3 and more: singular values of G on the null spaces; of diagonal networks:
        the derivative -G of the dual in time.
      levels: (nodes, columns) of columns: their exponents of alpha when the path comes to the
        saddle; of products of depth 3 and more: singular values of what is small, in units of
        alpha; of diagonal networks: the dual there, between minus and plus its thresholds.
      decays: (nodes,) the smallest rate at which a saddle's own flow comes to it.
      growths: (nodes,) the largest at which it leaves it; positive at no minimum of its rank.
      taus: (jumps,) times in units of c(alpha).
      offsets: (jumps,) what is added; NaN where it is not known.
      margins: (jumps,) by which factor the plateau would have been longer without the first
        column or entry; 1 is a tie.
      directions: (jumps, rows) the unit vectors along which saddles are left; of products the
        right singular vector before the left one.
      orbit_times: (jumps, records) of the way between saddles, relative to the jump.
      orbit_losses: (jumps, records) there.
      error_terms: (jumps, terms, 2) logarithms of coefficients, and powers of alpha.
      power: 0 for ln(1/alpha), or 1 - 2/degree.
      degree: of the factorisation.
      start: the factors that alpha^(1/degree) multiplies.
      outcome: how the path ended.
      reason: the same in a sentence.
      flags: sentences on what else is slow or not determined.
      config: what was asked for, as plain values.
    """

    products: Float[np.ndarray, "nodes *shape"]
    ranks: Int[np.ndarray, " nodes"]
    losses: Float[np.ndarray, " nodes"]
    rates: Float[np.ndarray, "nodes modes"]
    levels: Float[np.ndarray, "nodes columns"]
    decays: Float[np.ndarray, " nodes"]
    growths: Float[np.ndarray, " nodes"]
    taus: Float[np.ndarray, " jumps"]
    offsets: Float[np.ndarray, " jumps"]
    margins: Float[np.ndarray, " jumps"]
    directions: Float[np.ndarray, "jumps rows"]
    orbit_times: Float[np.ndarray, "jumps records"]
    orbit_losses: Float[np.ndarray, "jumps records"]
    error_terms: Float[np.ndarray, "jumps terms 2"]
    power: float
    degree: int
    start: tuple[np.ndarray, ...]
    outcome: SaddleOutcome
    reason: str
    flags: tuple[str, ...]
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                copy = np.array(value)
                copy.setflags(write=False)
                object.__setattr__(self, name, copy)

    def __len__(self) -> int:
        return len(self.losses)

    def __repr__(self) -> str:
        ranks = ", ".join(str(int(rank)) for rank in self.ranks)
        said = "".join(f"; {sentence}" for sentence in self.flags)
        return (
            f"SaddlePath(ranks {ranks}, loss {self.losses[0]:.3g} -> {self.losses[-1]:.3g}, "
            f"{self.outcome.value}: {self.reason}{said})"
        )

    @property
    def determined(self) -> bool:
        """Whether all of the limit was found, up to where it was asked for."""
        known = (SaddleOutcome.MINIMUM, SaddleOutcome.OUT_OF_COLUMNS, SaddleOutcome.OUT_OF_JUMPS)
        return self.outcome in known

    def clock(
        self, alpha: Checked[float | None] = None, *, log_alpha: Checked[float | None] = None
    ) -> float:
        """c(alpha): ln(1/alpha), or alpha^(-power).

        Args:
          alpha: the scale of the product at the start, between 0 and 1.
          log_alpha: or its natural logarithm, where alpha is below 1e-308.

        Raises:
          ValueError: unless exactly one is given, below 1 and below 0.
        """
        log = _log_of(alpha, log_alpha)
        return -log if self.power == 0 else float(np.exp(-self.power * log))

    def times(
        self, alpha: Checked[float | None] = None, *, log_alpha: Checked[float | None] = None
    ) -> Float[np.ndarray, " jumps"]:
        """The predicted times of the jumps, constant included where it is known; see `clock`."""
        offsets = np.where(np.isnan(self.offsets), 0.0, self.offsets)
        return self.taus * self.clock(alpha, log_alpha=log_alpha) + offsets

    def predicted_error(
        self, alpha: Checked[float | None] = None, *, log_alpha: Checked[float | None] = None
    ) -> Float[np.ndarray, " jumps"]:
        """By how much `times` may be wrong: all known corrections, each with its coefficient.

        An estimate, e / (1 - 3 e / t) of a time t, where e is thirty times the sum of their leading
        parts: corrections of corrections count as soon as these are not small. Infinite where 3 e
        is not below t (alpha is not small: the saddle is passed by) or an offset is not known.
        """
        logarithm = _log_of(alpha, log_alpha)
        found = evaluate(self.error_terms, logarithm)
        times = np.abs(self.times(log_alpha=logarithm))
        near = 3 * found < times
        grown = found / (1 - 3 * np.divide(found, times, out=np.zeros_like(found), where=near))
        return np.where(near & ~np.isnan(self.offsets), grown, np.inf)

    def at(
        self,
        time: float,
        alpha: Checked[float | None] = None,
        *,
        log_alpha: Checked[float | None] = None,
    ) -> np.ndarray:
        """The saddle that the flow is close to at a time."""
        return self.products[int(np.sum(self.times(alpha, log_alpha=log_alpha) <= time))]

    def start_at(self, alpha: Checked[float]) -> tuple[np.ndarray, ...]:
        """The factors of the start at an alpha, for `gradflow.solve_flow`."""
        return tuple(positive("alpha", alpha) ** (1 / self.degree) * w for w in self.start)

    def plot(self, alpha: Checked[float] = 1e-60, ax: "Axes | None" = None) -> "Axes":
        """Draw the loss of the limit over time, in units of c(alpha); see `plot_saddle_path`."""
        from gradflow.saddles.picture import plot_saddle_path  # half a second to import

        return plot_saddle_path(self, alpha, ax)

    def to_xarray(self) -> "xr.Dataset":
        """As an xarray Dataset."""
        import xarray as xr

        data = {
            name: (tuple(f"{name}:{k}" for k in range(value.ndim)), value)
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        for k, factor in enumerate(self.start, start=1):
            name = f"start:W_{k}"
            data[name] = (tuple(f"{name}:{axis}" for axis in range(factor.ndim)), factor)
        return xr.Dataset(
            data,
            attrs={
                "outcome": self.outcome.name,
                "reason": self.reason,
                "flags": json.dumps(list(self.flags)),
                "power": self.power,
                "degree": self.degree,
                "config": json.dumps(dict(self.config), sort_keys=True),
                "Conventions": _CONVENTION,
            },
        )

    def save(self, path: str | Path) -> Path:
        """Write a NetCDF file, whole or not at all, with a checksum after its end.

        Args:
          path: where to; its folder must exist.

        Raises:
          FileNotFoundError: if the folder does not exist.
        """
        write_sealed(path, in_memory(self.to_xarray()))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "SaddlePath":
        """Read what `save` wrote.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the file is damaged or no stored path of saddles.
        """
        try:
            data = from_file(path)
            if data.attrs.get("Conventions") != _CONVENTION:
                raise Damaged(f"it is {data.attrs.get('Conventions')!r}, not {_CONVENTION!r}")
            arrays = {str(name): value.to_numpy() for name, value in data.data_vars.items()}
            factors = sorted(name for name in arrays if name.startswith("start:"))
            return cls(
                start=tuple(arrays.pop(name) for name in factors),
                power=float(data.attrs["power"]),
                degree=int(data.attrs["degree"]),
                outcome=SaddleOutcome[data.attrs["outcome"]],
                reason=data.attrs["reason"],
                flags=tuple(json.loads(data.attrs["flags"])),
                config=json.loads(data.attrs["config"]),
                **arrays,
            )
        except FileNotFoundError:
            raise
        except Exception as error:  # h5py raises many kinds on damaged files
            raise ValueError(
                f"{path} is not a path of saddles that gradflow stored ({error}); "
                "is the path right? If it is damaged, run again."
            ) from error


def way_of(times: np.ndarray, losses: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """A way's records as a path has them: so many, at times relative to the jump."""
    at = np.quantile(times, np.linspace(0.0, 1.0, _RECORDS))
    return at - half, np.interp(at, times, losses)


def no_way() -> tuple[np.ndarray, np.ndarray]:
    """The same of a way that is not known: NaN."""
    return np.full(_RECORDS, np.nan), np.full(_RECORDS, np.nan)


def ways(each: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Those of all jumps, by their names in a `SaddlePath`."""
    stacked = np.array(list(each)).reshape(-1, 2, _RECORDS)
    return {"orbit_times": stacked[:, 0], "orbit_losses": stacked[:, 1]}


def _log_of(alpha: Any, log_alpha: Any) -> float:
    if (alpha is None) == (log_alpha is None):
        raise ValueError(
            f"Give exactly one of alpha and log_alpha, but they are {alpha} and {log_alpha}."
        )
    log = float(np.log(positive("alpha", alpha))) if log_alpha is None else real(log_alpha)
    if not log < 0:
        raise ValueError(
            f"alpha must be below 1, but its logarithm is {log}; a vanishing start is small."
        )
    return log
