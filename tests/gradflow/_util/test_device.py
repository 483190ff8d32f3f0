"""Where a command computes: chosen before JAX starts, with a word where that cannot be."""

import os

import jax
import jax.numpy as jnp
import pytest

from gradflow._util import device
from gradflow.sweeps import worker
from tests.helpers import status

pytestmark = pytest.mark.usefixtures("keep_environment")
PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


@pytest.fixture
def short_of_memory():
    """What JAX raises where there is no memory."""
    with pytest.raises(jax.errors.JaxRuntimeError) as found:
        jnp.zeros(2**50, jnp.uint8).block_until_ready()
    return found.value


def test_commands_leave_cards_alone_unless_asked(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert status("--version") == 0
    assert os.environ["JAX_PLATFORMS"] == "cpu"


def test_a_choice_holds_whatever_the_environment_says(monkeypatch):
    monkeypatch.delenv(PREALLOCATE, raising=False)
    device.choose("gpu")
    assert jax.config.jax_platforms is None
    assert os.environ[PREALLOCATE] == "false"
    monkeypatch.setenv(PREALLOCATE, "true")
    device.choose("cpu")
    assert jax.config.jax_platforms == "cpu"
    assert os.environ[PREALLOCATE] == "true"


def test_a_device_that_is_not_there_is_told_of():
    assert device.present("cpu") is None
    assert "There is no tpu here that JAX can use" in (device.present("tpu") or "")


def test_a_device_without_room_is_told_of(monkeypatch, short_of_memory):
    def take(size):
        assert size == device.ROOM
        raise short_of_memory

    monkeypatch.setattr(jax, "devices", lambda kind: [])
    monkeypatch.setattr(device, "_take", take)
    with pytest.raises(RuntimeError, match=r"less than 256 MB .* End that one, or .*cpu"):
        device.see("gpu")
    device.see("cpu")


def test_a_cell_without_room_is_told_of_in_a_sentence(short_of_memory):
    assert "has not enough memory" in worker._told(short_of_memory, "gpu")
    try:
        raise ValueError("something else")
    except ValueError as error:
        assert "Traceback" in worker._told(error, "gpu")
    assert not device.out_of_memory(ValueError("out of memory"))
