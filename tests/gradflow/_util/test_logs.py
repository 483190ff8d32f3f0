"""What the library tells of its choices, to those who listen."""

import logging

import optax
import pytest

import gradflow as gf
from gradflow._util import logs
from gradflow._util.misuse import Misuse

OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
START = OBJECTIVE.factorization.identity(0.3)


@pytest.fixture
def logger(monkeypatch):
    """A logger that forgets afterwards what it was given."""
    own = logging.Logger("gradflow")
    monkeypatch.setattr(logs, "LOGGER", own)
    return own


def test_a_flow_tells_its_choices_and_its_end(caplog):
    with caplog.at_level("INFO", "gradflow"):
        flow = gf.solve_flow(OBJECTIVE, START, horizon=0.5, coordinates="factors")
    chosen, ended = (record.getMessage() for record in caplog.records)
    assert chosen.startswith("flow: coordinates factors (as asked), solver ")
    assert ended == f"flow: REACHED_HORIZON at t = 0.5 after {flow.stats['steps']} steps"


def test_descents_tell_how_many_and_how(caplog):
    asked = {"learning_rate": 0.1, "max_steps": 3}
    with caplog.at_level("DEBUG", "gradflow"):
        gf.run_descents(OBJECTIVE, [START] * 2, optax.sgd, **asked)
    first, *others = (record.getMessage() for record in caplog.records)
    assert first == "descent: 2 runs one after the other in float64, at most 3 iterations"
    assert others and all(line.startswith("descent: to iteration ") for line in others)


def test_nothing_is_heard_unless_it_is_asked_for(capfd, logger, monkeypatch):
    monkeypatch.delenv(logs.LEVEL, raising=False)
    logs.listen()
    assert not logger.handlers
    gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.1, max_steps=3)
    assert capfd.readouterr().err == ""


def test_the_environment_names_a_level(capsys, logger, monkeypatch):
    monkeypatch.setenv(logs.LEVEL, "INFO")
    logs.listen()
    logger.info("of a flow")
    logger.debug("of a chunk")
    told = capsys.readouterr().err
    assert "gradflow INFO: of a flow" in told and "chunk" not in told


def test_another_word_is_refused(logger, monkeypatch):
    monkeypatch.setenv(logs.LEVEL, "inf")
    with pytest.raises(Misuse, match=r"'inf', but the levels are debug, info.*mean info"):
        logs.listen()
