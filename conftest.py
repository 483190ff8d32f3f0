"""Settings that every test and doctest runs under; they must come before JAX starts."""

import gc
import itertools
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# One BLAS and one XLA thread a worker: faster for small matrices, and workers do not compete.
XLA_FLAG = "--xla_cpu_multi_thread_eigen=false"

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"
os.environ["JAX_ENABLE_X64"] = "1"  # for processes that a test starts
if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAG}".strip()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Every call checks its annotations; JAXTYPING_DISABLE=1 in the environment turns that off. Not by
# `--jaxtyping-packages` among addopts: the workers of pytest-xdist would not see it.
# An int is a float, as pyright has it; beartype knows Self in classes that it decorates only.
install_import_hook(
    ["gradflow", "theory_checks", "experiments"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, "
    "hint_overrides=beartype.FrozenDict({beartype.typing.Self: object})))",
)

from gradflow._util import programs  # noqa: E402
from gradflow._util.processes import compile_quickly, take_core  # noqa: E402
from gradflow.claims import definition  # noqa: E402

compile_quickly()
# Later than by default, since tests then compile them again; engines that tests call ask too.
programs.MOST_MAPS = 40_000
# A pytest plugin may have imported JAX before the variables were set: say it again.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update(
    "jax_persistent_cache_min_compile_time_secs",
    float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]),
)

# The same examples in every run; compilation takes as long as it takes.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("same")

_TESTS = itertools.count(1)


@pytest.fixture(autouse=True)
def few_programs():
    """Now and then, drop compiled programs before there are too many for one process."""
    yield
    if next(_TESTS) % 10 == 0:
        programs.forget_programs()


_FIRST = {}


@pytest.fixture(autouse=True)
def same_numbers(request):
    """Have each test draw the same from its module's `RNG`, whichever tests ran before."""
    module = getattr(request.node, "module", None)
    generator = getattr(module, "RNG", None)
    if generator is not None:
        bits = generator.bit_generator
        bits.state = _FIRST.setdefault(module.__name__, bits.state)


@pytest.fixture(autouse=True)
def no_figures():
    """Close what pyplot was left with: some tests look at all figures that are open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def keep_environment(monkeypatch):
    """Undo what a command does to this process: flags of XLA, JAX's precision and platform."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    yield
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])


@pytest.fixture(autouse=True)
def own_claims():
    """Forget the claims that a test defines: other tests look at all of them."""
    before = set(definition._REGISTRY)
    yield
    for id in set(definition._REGISTRY) - before:
        if "theory_checks" not in (definition._REGISTRY[id].function.__module__ or ""):
            del definition._REGISTRY[id]


@pytest.fixture(autouse=True)
def core(request):
    """Keep a worker on its core in tests of flows: two that hop take a twentieth longer.

    Other tests may start processes, which would have to stay there too.
    """
    worker, count = (os.environ.get(f"PYTEST_XDIST_WORKER{x}", "") for x in ("", "_COUNT"))
    if not worker or not below_tests(request.path).startswith(ON_ONE_CORE):
        yield
        return
    free = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    take_core(int(worker.removeprefix("gw")), int(count))
    yield
    if free:
        os.sched_setaffinity(0, free)


ON_ONE_CORE = (
    "theory_checks/", "gradflow/flow/", "gradflow/coordinates/", "gradflow/dynamics/",
    "gradflow/exact/", "gradflow/ode/", "gradflow/baselines/", "gradflow/penalties/",
    "gradflow/linalg/test_spectral_map.py",
)  # fmt: skip

LONG_FILES = (
    "theory_checks/zhao2022/test_verdicts.py", "gradflow/sweeps/test_kill.py",
    "theory_checks/razin2020/test_verdicts.py", "gradflow/sweeps/test_cluster.py",
    "theory_checks/arora2019/test_verdicts.py", "gradflow/sweeps/test_runner.py",
    "gradflow/flow/test_accuracy.py", "gradflow/flow/test_other_problems.py",
    "gradflow/flow/test_penalised.py", "gradflow/flow/test_all_coordinates.py",
    "gradflow/flow/test_norm_blowup.py", "theory_checks/wang2024/test_verdicts.py",
    "notebooks/test_notebooks.py",
)  # fmt: skip


def below_tests(path):
    """Where a test file stands, seen from the folder of the tests."""
    return path.relative_to(ROOT / "tests").as_posix() if ROOT / "tests" in path.parents else ""


# Scripts that stand for themselves, and compute as they are imported: a test runs each of them.
collect_ignore_glob = ["theory_checks/*/counterexamples/*"]

LONG_TESTS = ROOT / "tests" / "long_tests.txt"


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config, items):
    """Long tests are slow ones; long files come first, so that no worker waits for the last."""
    lines = LONG_TESTS.read_text(encoding="utf-8").splitlines()
    long = {line for line in lines if line and not line.startswith("#")}
    met = set()
    for item in items:
        if found := long & {item.nodeid, item.nodeid.partition("[")[0]}:
            item.add_marker(pytest.mark.slow)
            met |= found
    files = {item.nodeid.partition("::")[0] for item in items}
    unmet = [name for name in long - met if name.partition("::")[0] in files]
    if unmet and not any("::" in word for word in config.args):
        raise pytest.UsageError(f"{LONG_TESTS.name} names what is no test: {sorted(unmet)}")
    place = {name: k for k, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(below_tests(item.path), len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Modules and tests stay to the end: looking for garbage among them takes a twelfth."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
