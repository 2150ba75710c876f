"""Generative geodesics (Kim et al. 2024): distances and shortest paths in the metric that a density alone defines."""
