"""The experiments of Arora, Cohen, Hu and Luo 2019."""

from . import dynamics, recovery

__all__ = ["dynamics", "recovery"]
