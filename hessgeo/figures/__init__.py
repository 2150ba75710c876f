"""Figures: one module each, whose ``draw`` returns the figure and a table of the numbers in it."""

from hessgeo.figures.style import save_figure

__all__ = ["save_figure"]
