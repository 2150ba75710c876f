"""Comparisons with known answers, gauge removed."""
