"""Riemannian metrics on the parameter plane, and the diagnostics that stand beside them."""
