"""What the parameters obey."""

from gradflow.dynamics.adam import AdamChart, adam_chart, sampled_variance

__all__ = ["AdamChart", "adam_chart", "sampled_variance"]
