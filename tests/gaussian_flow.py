"""The variance-preserving flow of a Gaussian mixture with its exact predictions, as a sampler of steps follows it."""

from itertools import pairwise

import numpy as np
from scipy.special import logsumexp


def responsibilities(x, means, width, alpha):
    """Of modes of equal weight, given ``x = alpha x_0 + sigma z``."""
    variance = (alpha * width) ** 2 + 1 - alpha**2
    log = -np.square(x[:, None] - alpha * means).sum(-1) / (2 * variance)
    return np.exp(log - logsumexp(log, axis=1, keepdims=True))


def posterior_mean(x, means, width, alpha):
    """``E[x_0 | x]``: that of each mode, by how likely it is."""
    variance = (alpha * width) ** 2 + 1 - alpha**2
    share = responsibilities(x, means, width, alpha)
    shrunk = means + alpha * width**2 / variance * (x[:, None] - alpha * means)
    return np.einsum("nk,nkd->nd", share, shrunk)


def flow(z, means, width, steps):
    """States, predictions, ``alpha`` and ``sigma`` at each step of the deterministic sampler; and where it ends."""
    angles = np.linspace(np.pi / 2 * 0.999, 0, steps + 1)
    x, states, clean = z, [], []
    for now, then in pairwise(angles):
        d = posterior_mean(x, means, width, np.cos(now))
        states.append(x)
        clean.append(d)
        x = np.cos(then) * d + np.sin(then) * (x - np.cos(now) * d) / np.sin(now)
    return np.array(states), np.array(clean), np.cos(angles[:-1]), np.sin(angles[:-1]), x


def final_phases(end, means, shape):
    """The mode that each point ends nearest to, counted from 1 without gaps."""
    nearest = np.argmin(np.square(end[:, None] - means).sum(-1), axis=1)
    return np.unique(nearest, return_inverse=True)[1].reshape(shape) + 1, nearest
