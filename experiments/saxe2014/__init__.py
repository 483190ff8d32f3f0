"""The experiments of Saxe, McClelland and Ganguli 2014."""

from . import curves

__all__ = ["curves"]
