"""The experiments of Li, Luo and Lyu 2021: our picture of their counterexample."""

from . import counterexample

__all__ = ["counterexample"]
