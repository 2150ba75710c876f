"""Posteriors of distances: their rows by definition, and all that one holds, to the byte."""

import dataclasses

import numpy as np


def brute_force(embedding, kernel, resolution, exclude_self=False):
    """Every row of the posterior by its definition, one difference at a time, in float64."""
    e = embedding.astype(float)
    squared = np.stack([((e - one) ** 2).sum(axis=1) for one in e])
    logit = -resolution / 2 * squared if kernel == "gaussian" else -resolution * np.sqrt(squared)
    if exclude_self:
        np.fill_diagonal(logit, -np.inf)
    log_z = np.logaddexp.reduce(logit, axis=1)
    return np.exp(logit - log_z[:, None]), log_z


def fields(posterior):
    """Every field, arrays as their bytes."""
    found = {field.name: getattr(posterior, field.name) for field in dataclasses.fields(posterior)}
    return {
        name: (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in found.items()
    }
