"""The limit of a start that vanishes, as a dynamics from saddle to saddle."""

from gradflow.saddles.path import SaddleOutcome, SaddlePath
from gradflow.saddles.solve import saddle_path

__all__ = ["SaddleOutcome", "SaddlePath", "saddle_path"]
