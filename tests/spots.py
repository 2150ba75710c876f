"""A generator of images with four phases, and an embedding, as a user would hand them in."""

import numpy as np

X, Y = np.meshgrid(np.linspace(-1.5, 1.5, 8), np.linspace(1.5, -1.5, 8))


def generate(z):
    """Grey floats (n, 8, 8) in [0, 1] of latents of any shape: a spot that jumps between four corners."""
    x, y = np.tanh(1.2 * (np.asarray(z).reshape(len(z), -1)[:, :2].T - 0.5))[..., None, None]
    return np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 2)


def embed(images):
    """Pixels, and a constant."""
    return np.concatenate([images.reshape(len(images), -1), np.ones((len(images), 1))], axis=1)
