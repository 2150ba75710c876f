"""Figures: one module each, whose ``draw`` returns the figure and a table of the numbers in it."""

from hessgeo.plotting.style import save_figure

__all__ = ["save_figure"]
