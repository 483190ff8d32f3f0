"""The experiments of Zhao 2022."""

from . import choices, dynamics, preconditioner, samples, table2, tables

__all__ = ["choices", "dynamics", "preconditioner", "samples", "table2", "tables"]
