"""The experiments of Razin, Maman and Cohen 2021, and one of ours."""

from . import components, norm_blowup

__all__ = ["components", "norm_blowup"]
