"""Figures: one module each, whose ``draw`` returns the figure and a table of the numbers in it; see ``registry``."""
