"""Two-dimensional slices through the latent space of a generative model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

NORMALISATIONS = ("sphere", "std", "none")


@dataclass(frozen=True)
class LatentSlice:
    """The plane through three anchors, projected back to where Gaussian noise lives.

    ``z(a, b) = z0 + a (z1 - z0) + b (z2 - z0)`` in float64, then by ``normalisation``

    - ``sphere``: ``z sqrt(dim) / |z|``, the sphere that high-dimensional noise concentrates on;
    - ``std``: ``z / std(z)``, the mean kept (as in the published code of Lobashev et al., ICML 2025);
    - ``none``: ``z`` itself.

    Args:
        anchors: ``z0, z1, z2``, shape (3, *latent).
        extent: ``((a_min, a_max), (b_min, b_max))``, the box that the slice is defined on.
        normalisation: one of the above.

    Raises:
        ValueError: on anchors that are not three or not finite, an extent that does not increase, or an
            unknown normalisation.
    """

    anchors: Float[np.ndarray, "anchor *latent"]
    extent: tuple[tuple[float, float], tuple[float, float]]
    normalisation: str = "sphere"

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"normalisation is {self.normalisation!r}, must be one of {', '.join(NORMALISATIONS)}"
            )
        if self.anchors.ndim < 2 or len(self.anchors) != 3:
            raise ValueError(f"anchors have shape {self.anchors.shape}, must be (3, *latent)")
        if not np.all(np.isfinite(self.anchors)):
            raise ValueError("anchors hold a value that is not finite")
        if any(low >= high for low, high in self.extent):
            raise ValueError(f"extent {self.extent} must increase along both axes")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return self.anchors.shape[1:]

    def latents(self, t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n *latent"]:
        """The latent at each parameter point, in float64.

        Raises:
            ValueError: if a point lies outside the box by more than a rounding, or its latent has no
                direction (``sphere``) or no spread (``std``) to normalise.
        """
        t = np.asarray(t, dtype=np.float64)
        low, high = np.array(self.extent, dtype=np.float64).T
        slack = 1e-9 * (high - low)
        if np.any(t < low - slack) or np.any(t > high + slack):
            raise ValueError(f"points lie outside the extent {self.extent} of the latent slice")
        z0, z1, z2 = self.anchors.astype(np.float64).reshape(3, -1)
        # Affine weights make an anchor come back bit by bit at (0, 0), (1, 0) and (0, 1).
        a, b = t[:, :1], t[:, 1:]
        z = (1 - a - b) * z0 + a * z1 + b * z2
        return self._normalise(z).reshape(len(t), *self.latent_shape)

    def _normalise(self, z: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        if self.normalisation == "none":
            return z
        if self.normalisation == "sphere":
            scale = np.linalg.norm(z, axis=1, keepdims=True) / math.sqrt(z.shape[1])
        else:
            scale = z.std(axis=1, keepdims=True)
        if np.any(scale == 0):
            raise ValueError(
                f"a latent of the slice is constant and cannot be normalised by {self.normalisation!r}"
            )
        return z / scale


def random_anchors(seed: int, latent_shape: tuple[int, ...]) -> Float[np.ndarray, "3 *latent"]:
    """Three standard normal anchors; anchor ``k`` is a function of ``(seed, k)`` alone."""
    return np.stack([np.random.default_rng([seed, k]).standard_normal(latent_shape) for k in range(3)])


def load_anchors(path: str | Path, latent_shape: tuple[int, ...]) -> Float[np.ndarray, "3 *latent"]:
    """Read three anchors from a ``.npy`` file; a file that holds Python objects is refused.

    Raises:
        ValueError: if the file is no plain numeric array of shape (3, *latent_shape).
    """
    try:
        anchors = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"anchors file {path} is not a plain numeric .npy array") from error
    expected = (3, *latent_shape)
    if not isinstance(anchors, np.ndarray) or anchors.shape != expected or anchors.dtype.kind not in "fiu":
        found = f"{anchors.dtype} {anchors.shape}" if isinstance(anchors, np.ndarray) else "an archive"
        raise ValueError(f"anchors file {path} holds {found}, must be real numbers of shape {expected}")
    return anchors.astype(np.float64)
