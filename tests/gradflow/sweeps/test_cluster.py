import optax
import pytest

import gradflow as gf
from gradflow import sweeps
from gradflow.sweeps import runner
from gradflow.sweeps.store import Store
from tests.gradflow.sweeps.test_kill import OWN, SHORT, kill_first_worker
from tests.gradflow.sweeps.test_store import contents

distributed = pytest.importorskip("distributed")
SOME = {"rates": (0.1, 0.05), "seeds": (0, 1, 2)}
QUIET = {"module": OWN, "show": False}


def local_cluster(workers):
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address=":0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def address():
    with local_cluster(1) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_cluster_whose_worker_is_killed_gives_the_store_of_one_process(tmp_path, monkeypatch):
    sweeps.run("own.sweep", out=tmp_path / "here", jobs=1, **SHORT, **QUIET)
    monkeypatch.chdir(tmp_path)  # the workers run elsewhere
    killer = kill_first_worker(tmp_path / "there" / "own.sweep")
    with local_cluster(2) as cluster:
        address = cluster.scheduler_address
        report = sweeps.run(
            "own.sweep", out=runner.Path("there"), cluster=address, **SHORT, **QUIET
        )
    killer.join()
    assert (report.done, report.failures) == (len(SHORT["rates"]) * len(SHORT["seeds"]), {})
    there = tmp_path / "there" / "own.sweep"
    assert contents(there) == contents(tmp_path / "here" / "own.sweep")
    assert Store(there).checkpoints() == set() and not list(there.glob("live/*"))


def test_a_failing_cell_on_a_cluster_costs_no_other(address, tmp_path):
    grid = {"rates": (0.1,), "seeds": (0, 1, 2), "failing": (1,)}
    report = sweeps.run("own.sweep", out=tmp_path, cluster=address, **grid, **QUIET)
    assert report.done == 2
    ((label, text),) = report.failures.items()
    assert label.startswith("seed 1") and "RuntimeError: the cell of seed 1 fails" in text


def test_a_device_that_the_workers_lack(address, tmp_path):
    with pytest.raises(RuntimeError, match="There is no gpu here that JAX can use"):
        sweeps.run("own.sweep", out=tmp_path, cluster=address, device="gpu", **QUIET)


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:1", "nonsense", "udp://127.0.0.1:1"])
def test_a_wrong_address(wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_REACH", 1.0)
    with pytest.raises(ValueError, match=f"there is no scheduler at {wrong}"):
        sweeps.run("own.sweep", out=tmp_path, cluster=wrong, **QUIET)


def test_a_cluster_without_workers(tmp_path):
    with (
        local_cluster(0) as cluster,
        pytest.raises(ValueError, match=r"has no workers; start some"),
    ):
        sweeps.run("own.sweep", out=tmp_path, cluster=cluster.scheduler_address, **QUIET)


@pytest.mark.slow
def test_cells_that_end_their_worker_cost_no_other_on_a_cluster(tmp_path):
    grid = {"rates": (0.1,), "seeds": (0, 1, 2), "ending": (1,)}
    with local_cluster(2) as cluster:
        report = sweeps.run(
            "own.sweep", out=tmp_path, cluster=cluster.scheduler_address, **grid, **QUIET
        )
    assert report.done == 2
    assert list(report.failures) == ["seed 1, fault exit"]


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_run(tmp_path):
    import threading
    import time

    from gradflow.sweeps.heartbeat import in_flight

    cluster = local_cluster(1)

    def close():
        while not in_flight(tmp_path / "own.sweep"):
            time.sleep(0.05)
        cluster.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(OSError, match="scheduler has gone"):
        sweeps.run(
            "own.sweep", out=tmp_path, cluster=cluster.scheduler_address, **QUIET,
            **SHORT | {"steps": 100_000_000},
        )  # fmt: skip
    closer.join()


def test_storing_does_not_wait_for_a_cluster_that_has_gone(tmp_path):
    with local_cluster(1) as cluster:
        grid = {"rates": (0.1,), "seeds": (0,), "steps": 100}
        sweeps.run("own.sweep", out=tmp_path, cluster=cluster.scheduler_address, **grid, **QUIET)
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
    assert gf.run_descent(objective, start, optax.sgd(0.1), max_steps=3).save(tmp_path / "run.nc")
