"""What every test of an experiment leaves as it was."""

import jax
import pytest


@pytest.fixture(autouse=True)
def keep_precision():
    """Runs in float32 turn float64 off."""
    yield
    jax.config.update("jax_enable_x64", True)
