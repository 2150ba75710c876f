"""The entropy clock: how uncertain the final phase still is, given the state of the sampler at a step."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax, xlogy


def image_weights(
    state: Float[np.ndarray, "m d"],
    clean: Float[np.ndarray, "n d"],
    *,
    signal: float,
    noise: float,
    own: Int[np.ndarray, "m"] | None = None,
) -> Float[np.ndarray, "m n"]:
    """Posterior over the images of a slice given a state, with these images as all that there is.

    The state is ``x = alpha x_0 + sigma z``, so image ``i`` has the weight ``exp(-|x - alpha x_i|^2 / (2 sigma^2))``.

    Args:
        state: the states.
        clean: final latents of all images.
        signal: ``alpha``.
        noise: ``sigma``, positive.
        own: the image that each state leads to, which is left out; None to leave out none.
    """
    x, y = np.asarray(state, dtype=float), signal * np.asarray(clean, dtype=float)
    # Without |x|^2, which is common to all images of a state.
    log_weight = (x @ y.T - np.square(y).sum(axis=1) / 2) / noise**2
    if own is not None:
        log_weight[np.arange(len(x)), own] = -np.inf
    return softmax(log_weight, axis=1)


def label_entropy(weights: Float[np.ndarray, "m n"], label: Int[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
    """Entropy of the label given each state, nats.

    The class-conditional entropy of Handke et al., with the posterior of the images themselves in the place of a
    classifier's: a label's share is the sum of the weights of its images.

    Args:
        weights: of every image for each state, rows of sum one.
        label: the final phase of every image.
    """
    names, place = np.unique(label, return_inverse=True)
    share = weights @ np.eye(len(names))[place]
    return -xlogy(share, share).sum(axis=1)


def prior_entropy(label: Int[np.ndarray, "n"]) -> float:
    """Entropy of the shares of labels, nats: what is known of pure noise."""
    share = np.unique(label, return_counts=True)[1] / len(label)
    return float(-xlogy(share, share).sum())


def half_time(entropy: Float[np.ndarray, "k"], levels: Float[np.ndarray, "k"], prior: float) -> float:
    """Noise level at which half of the prior's entropy is gone, between steps interpolated.

    Args:
        entropy: at each step, nats.
        levels: noise level of each step, falling.
        prior: entropy before the first step, at level one.

    Returns:
        The level; 0 if half of it is left at the last step.
    """
    heights, places = np.append(prior, entropy), np.append(1.0, levels)
    below = np.flatnonzero(heights < prior / 2)
    if not below.size:
        return 0.0
    k = int(below[0])
    share = (heights[k - 1] - prior / 2) / (heights[k - 1] - heights[k])
    return float(places[k - 1] + share * (places[k] - places[k - 1]))


def half_interval(
    entropies: Float[np.ndarray, "k m"],
    levels: Float[np.ndarray, "k"],
    prior: float,
    *,
    draws: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Interval of ``half_time`` of the mean entropy, over states drawn anew."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = rng.integers(entropies.shape[1], size=entropies.shape[1])
        found.append(half_time(entropies[:, chosen].mean(axis=1), levels, prior))
    if not found:
        alone = half_time(entropies.mean(axis=1), levels, prior)
        return alone, alone
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
