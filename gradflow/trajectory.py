"""What both engines give back: a trajectory, stored as NetCDF."""

import enum
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow._util.netcdf import from_file, in_memory
from gradflow._util.sealed import Damaged, write_sealed

if TYPE_CHECKING:
    import xarray as xr


FORMAT = 2
"""Of stored files: 1 had no state of an optimiser."""
_NAMED = re.compile(r"gradflow-trajectory-(\d+)")


class Outcome(enum.Enum):
    """How a run ended."""

    REACHED_LOSS = "reached the loss"
    REACHED_GRADIENT_NORM = "reached the gradient norm"
    REACHED_HORIZON = "reached the horizon"
    OUT_OF_STEPS = "ran out of steps"
    STEP_TOO_SMALL = "needed steps below the resolution of time"
    DIVERGED = "diverged"
    STALLED = "made no progress any more"
    LOST_TIME = "reached its horizon behind a rise whose time float64 cannot tell"
    LOST_GRADIENT = "reached a point where the penalty has no gradient"


class Trajectory:
    """A recorded run, of a flow or of a descent; immutable.

    Attributes:
      times: (records,) times of a flow, or iterations of a descent, from 0 on.
      observables: name -> array of shape (records, ...).
      final: the last parameters, by name (factors of a run in factor coordinates: W_1, W_2, ...).
      initial: the first parameters, by name.
      state: what a descent goes on with beside its parameters, by name: the optimiser's state, the
        loss and the gradient. A flow needs nothing else than its `final`.
      outcome: how the run ended.
      stats: numbers of steps and the like.
      config: everything that was asked for, as plain values.

    Example:
      >>> import jax.numpy as jnp, gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(
      ...     objective, gf.factorizations.identity_factors((2, 2, 2), 0.1), horizon=5.0
      ... )
      >>> flow.outcome
      <Outcome.REACHED_HORIZON: 'reached the horizon'>
      >>> flow["loss"].shape == flow.times.shape
      True
    """

    __slots__ = (
        "config",
        "final",
        "initial",
        "observables",
        "outcome",
        "state",
        "stats",
        "times",
    )

    times: np.ndarray
    observables: Mapping[str, np.ndarray]
    final: Mapping[str, np.ndarray]
    initial: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray]
    outcome: Outcome
    stats: Mapping[str, Any]
    config: Mapping[str, Any]

    def __init__(
        self,
        *,
        times: Any,
        observables: Mapping[str, Any],
        final: Mapping[str, Any],
        initial: Mapping[str, Any],
        outcome: Outcome,
        stats: Mapping[str, Any],
        config: Mapping[str, Any],
        state: Mapping[str, Any] = MappingProxyType({}),
    ):
        def plain(values: Mapping[str, Any]) -> Mapping[str, Any]:
            return MappingProxyType(
                {k: v if type(v) in _SIMPLE else _plain(v) for k, v in values.items()}
            )

        values = {
            "times": _frozen_array(times),
            "observables": MappingProxyType({k: _frozen_array(v) for k, v in observables.items()}),
            "final": MappingProxyType({k: _frozen_array(v) for k, v in final.items()}),
            "initial": MappingProxyType({k: _frozen_array(v) for k, v in initial.items()}),
            "state": MappingProxyType({k: _frozen_array(v) for k, v in state.items()}),
            "outcome": outcome,
            "stats": plain(stats),
            "config": plain(config),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A Trajectory is immutable; cannot set {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A Trajectory is immutable; cannot delete {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        plain = {name: _as_dict(getattr(self, name)) for name in self.__slots__}
        return _remade, (plain,)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against the numbers, a sentence each; empty if nothing is known."""
        return tuple(self.stats.get("warnings", ()))

    def __getitem__(self, name: str) -> np.ndarray:
        """An observable over all records."""
        try:
            return self.observables[name]
        except KeyError:
            known = ", ".join(self.observables)
            raise KeyError(f"{name!r} was not recorded; recorded are {known}.") from None

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        clock = "iterations" if self.config.get("kind") == "descent" else "times"
        loss = self.observables["loss"]
        said = "".join(f"; but {sentence}" for sentence in self.warnings)
        return (
            f"Trajectory({self.config.get('kind')}, {len(self)} {clock} to {self.times[-1]:.6g}, "
            f"loss {loss[0]:.3g} -> {loss[-1]:.3g}, {self.outcome.value}{said})"
        )

    def to_xarray(self) -> "xr.Dataset":
        """As an xarray Dataset: observables along `time`, parameters, attributes."""
        import xarray as xr  # half a second to import

        data: dict[str, Any] = {}
        for name, array in self.observables.items():
            data[name] = (("time", *_axes(name, array.shape[1:])), array)
        for stage in _STAGES:
            for name, array in getattr(self, stage).items():
                data[f"{stage}:{name}"] = (_axes(f"{stage}:{name}", array.shape), array)
        attributes = {
            "outcome": self.outcome.name,
            "stats": json.dumps(dict(self.stats), sort_keys=True),
            "config": json.dumps(dict(self.config), sort_keys=True),
            "Conventions": f"gradflow-trajectory-{FORMAT}",
        }
        return xr.Dataset(data, coords={"time": self.times}, attrs=attributes)

    def save(self, path: str | Path) -> Path:
        """Write a NetCDF file, whole or not at all, with a checksum after its end.

        Args:
          path: where to; its folder must exist.

        Returns:
          The path.

        Raises:
          FileNotFoundError: if the folder does not exist.
        """
        write_sealed(path, in_memory(self.to_xarray()))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read what `save` wrote, in this version or an earlier one.

        Files name the version of their format; the earliest have neither that nor a checksum.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the file is damaged, no stored trajectory, or of a later format.
        """
        try:
            data = from_file(path)
            attributes = data.attrs
            named = _NAMED.fullmatch(str(attributes.get("Conventions", "")))
            if named is not None and int(named[1]) > FORMAT:
                raise _Later(named[1])
            stages: dict[str, dict[str, np.ndarray]] = {stage: {} for stage in _STAGES}
            observables = {}
            for name, array in data.data_vars.items():
                stage, _, rest = str(name).partition(":")
                (stages[stage] if rest else observables)[rest or stage] = array.to_numpy()
            return cls(
                times=data["time"].to_numpy(),
                observables=observables,
                outcome=Outcome[attributes["outcome"]],
                stats=json.loads(attributes["stats"]),
                config=json.loads(attributes["config"]),
                **stages,
            )
        except FileNotFoundError:
            raise
        except Damaged as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and run again.") from error
        except _Later as error:
            raise ValueError(
                f"{path} has format {error}, which a later gradflow stored; this one reads formats "
                f"up to {FORMAT}: update gradflow to read it."
            ) from None
        except Exception as error:  # h5py raises many kinds on damaged files
            raise ValueError(
                f"{path} is not a trajectory that gradflow stored ({error}); "
                "is the path right? If it is damaged, run again."
            ) from error


class _Later(Exception):
    """A file of a format that is not known yet."""


_STAGES = ("initial", "final", "state")


def _remade(plain: dict[str, Any]) -> Trajectory:
    """The trajectory that was pickled or copied."""
    return Trajectory(**plain)


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _axes(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of axes; observables have no colon in theirs, and so cannot be called like one."""
    return tuple(f"{name}:{k}" for k in range(len(shape)))


_LARGE = 16_384
"""Bytes from which an array that nobody can write to is shared: copies of batches take seconds."""


def _frozen_array(given: Any) -> np.ndarray:
    """An array that stays as it is: this one if it is large and cannot be written to, or a copy."""
    if type(given) is np.ndarray and given.nbytes >= _LARGE and _is_fixed(given):
        return given
    copy = np.array(given)
    copy.setflags(write=False)
    return copy


def _is_fixed(array: np.ndarray) -> bool:
    """Whether neither it nor an array that it is a part of can be written to."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return True


_SIMPLE = frozenset({bool, int, float, str, type(None)})


def _plain(value: Any) -> Any:
    """Numbers, strings, lists and dictionaries only, as JSON has them."""
    if type(value) in _SIMPLE:  # almost all; a batch has a million of them
        return value
    if isinstance(value, list | tuple):
        return [v if type(v) in _SIMPLE else _plain(v) for v in value]
    if type(value) is dict or isinstance(value, Mapping):
        return {str(k): v if type(v) in _SIMPLE else _plain(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "fiub":
        return array.item()
    return repr(value)


def named_factors(factors: Sequence[Any]) -> dict[str, np.ndarray]:
    """Factors by name: W_1, W_2, ...."""
    return {f"W_{k}": np.asarray(factor) for k, factor in enumerate(factors, start=1)}


def named_observables(names: Sequence[str], recorded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Recorded arrays in the order asked for; those of a tuple get numbers from 1."""
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        value = recorded[name]
        numbered = enumerate(value, start=1) if isinstance(value, tuple) else ()
        found = {f"{name}_{k}": v for k, v in numbered} or {name: value}
        if twice := sorted(set(found) & set(arrays)):
            raise ValueError(
                f"Two observables are called {twice[0]!r}: an entry of {name!r} and another one; "
                "rename one of them."
            )
        arrays |= {key: np.asarray(array) for key, array in found.items()}
    return arrays
