"""Slices of one or two parameters through the latent space of a generative model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Extent
from hessgeo.systems.latent_files import load_latents

NORMALISATIONS = ("sphere", "std", "anchors", "none")
INTERPOLATIONS = ("linear", "spherical")
LATENT = "latent"
OPPOSITE = 1e-6  # radians from opposite at which two anchors have no great circle of their own
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class LatentSlice:
    """The plane through three anchors, projected back to where Gaussian noise lives.

    ``z(a, b) = z0 + a (z1 - z0) + b (z2 - z0)`` in float64, or with ``spherical`` interpolation along great circles:
    the direction ``exp(a log u1 + b log u2)``, with the sphere's maps at the direction ``u0`` of ``z0`` (along each
    axis alone the usual spherical interpolation), times the norms of the anchors, interpolated linearly. Then by
    ``normalisation``

    - ``sphere``: ``z sqrt(dim) / |z|``, the sphere that high-dimensional noise concentrates on;
    - ``std``: ``z / std(z)``, the mean kept (as in the published code of Lobashev et al., ICML 2025);
    - ``anchors``: ``z r / |z|`` with ``r`` the norms of the anchors, interpolated as the latents are: every anchor
      comes back as it is, which those of inverted images need, whose norm may differ from that of noise;
    - ``none``: ``z`` itself.

    Args:
        anchors: ``z0, z1, z2``, shape (3, *latent).
        extent: ``((a_min, a_max), (b_min, b_max))``, the box that the slice is defined on; of a path one side.
        normalisation: one of the above.
        interpolation: ``linear`` or ``spherical``.
        axes: what each parameter moves: ``latent``, towards the next anchor, or a condition of the system by its name,
            which leaves the latent as it is. Anchors that no parameter moves to are not used.

    Raises:
        ValueError: on anchors that are not three or not finite, or (spherical) zero or opposite, an extent that does
            not increase, an unknown normalisation or interpolation, or one condition twice.
    """

    anchors: Float[np.ndarray, "anchor *latent"]
    extent: Extent
    normalisation: str = "sphere"
    interpolation: str = "linear"
    axes: tuple[str, ...] = ("latent", "latent")

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"normalisation is {self.normalisation!r}, must be one of {', '.join(NORMALISATIONS)}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation is {self.interpolation!r}, must be one of {', '.join(INTERPOLATIONS)}"
            )
        if self.anchors.ndim < 2 or len(self.anchors) != 3:
            raise ValueError(f"anchors have shape {self.anchors.shape}, must be (3, *latent)")
        if not np.all(np.isfinite(self.anchors)):
            raise ValueError("anchors hold a value that is not finite")
        if any(low >= high for low, high in self.extent):
            raise ValueError(f"extent {self.extent} must increase along each axis")
        if len(self.axes) != len(self.extent) or (
            len(self.axes) == 2 and self.axes[0] == self.axes[1] != LATENT
        ):
            raise ValueError(
                f"axes are {self.axes}, must be {len(self.extent)}, as sides of the extent, each condition at most once"
            )
        if self.interpolation == "spherical":
            self._along_great_circles(np.zeros((1, 2)))  # raises
        if self.normalisation == "anchors":
            corners = np.array(list(product(*self.extent)), dtype=float)
            if np.any(self._radius(self._places(corners)) <= 0):
                raise ValueError(
                    f"the norms of the anchors, {self._anchor_norms.round(3).tolist()}, extrapolate to a negative one "
                    f"within the extent {self.extent}: make it smaller, or normalise by 'sphere'"
                )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return self.anchors.shape[1:]

    def latents(self, t: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n *latent"]:
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
        places = self._places(t)
        if self.interpolation == "spherical":
            z = self._along_great_circles(places)
        else:
            z0, z1, z2 = self.anchors.astype(np.float64).reshape(3, -1)
            # Affine weights make an anchor come back bit by bit at (0, 0), (1, 0) and (0, 1).
            a, b = places[:, :1], places[:, 1:]
            z = (1 - a - b) * z0 + a * z1 + b * z2
        return self._normalise(z, places).reshape(len(t), *self.latent_shape)

    def conditions(self, t: Float[np.ndarray, "n d"]) -> dict[str, Float[np.ndarray, "n"]]:
        """What the system is told beside the latent at each parameter point, by the name of the condition."""
        return {axis: t[:, k] for k, axis in enumerate(self.axes) if axis != LATENT}

    def _places(self, t: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
        """Coordinates in the plane of the anchors: the parameters that move the latent, and zeros."""
        places = np.zeros((len(t), 2))
        moving = [k for k, axis in enumerate(self.axes) if axis == LATENT]
        places[:, : len(moving)] = t[:, moving]
        return places

    def _along_great_circles(self, places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n dim"]:
        norms = self._anchor_norms
        directions = self.anchors.astype(np.float64).reshape(3, -1) / norms[:, None]
        tangent = places @ np.stack([_sphere_log(directions[0], direction) for direction in directions[1:]])
        angle = np.linalg.norm(tangent, axis=1, keepdims=True)
        # sinc is sin(pi x) / (pi x), and one at zero.
        turned = np.cos(angle) * directions[0] + np.sinc(angle / np.pi) * tangent
        return turned * self._radius(places)[:, None]

    @property
    def _anchor_norms(self) -> Float[np.ndarray, "3"]:
        return np.linalg.norm(self.anchors.astype(np.float64).reshape(3, -1), axis=1)

    def _radius(self, places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n"]:
        return np.column_stack([1 - places.sum(axis=1), places]) @ self._anchor_norms

    def _normalise(
        self, z: Float[np.ndarray, "n dim"], places: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n dim"]:
        if self.normalisation == "none":
            return z
        if self.normalisation == "sphere":
            scale = np.linalg.norm(z, axis=1, keepdims=True) / math.sqrt(z.shape[1])
        elif self.normalisation == "anchors":
            scale = np.linalg.norm(z, axis=1, keepdims=True) / self._radius(places)[:, None]
        else:
            scale = z.std(axis=1, keepdims=True)
        if np.any(scale == 0):
            raise ValueError(
                f"a latent of the slice is constant and cannot be normalised by {self.normalisation!r}"
            )
        return z / scale


def _sphere_log(start: Float[np.ndarray, "dim"], end: Float[np.ndarray, "dim"]) -> Float[np.ndarray, "dim"]:
    """The tangent vector at one direction whose great circle reaches another at time one.

    Raises:
        ValueError: if the two are opposite, or one is none.
    """
    cosine = float(start @ end)
    across = end - cosine * start
    sine = float(np.linalg.norm(across))
    angle = math.atan2(sine, cosine)
    if not angle < math.pi - OPPOSITE:
        raise ValueError(
            "anchors of spherical interpolation are zero or opposite: no great circle is theirs alone"
        )
    return across * (angle / sine) if sine > 0 else np.zeros_like(start)


def random_anchors(seed: int, latent_shape: tuple[int, ...]) -> Float[np.ndarray, "3 *latent"]:
    """Three standard normal anchors; anchor ``k`` is a function of ``(seed, k)`` alone.

    Raises:
        ValueError: one line, on a seed that is no whole number from 0, or a latent of no numbers.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed {seed!r} is not allowed; allowed: a whole number from 0")
    sides = np.atleast_1d(np.asarray(latent_shape))
    if sides.dtype.kind not in "iu" or (sides < 1).any():
        raise ValueError(f"latent_shape {latent_shape!r} is not allowed; allowed: whole numbers from 1")
    return np.stack([np.random.default_rng([seed, k]).standard_normal(latent_shape) for k in range(3)])


def random_latent(seed: int, latent_shape: tuple[int, ...]) -> Float[np.ndarray, "*latent"]:
    """One standard normal latent, the first anchor of ``random_anchors(seed, latent_shape)``."""
    return random_anchors(seed, latent_shape)[0]


def is_image(source: int | str) -> bool:
    """Whether an anchor is given by an image, which has to be inverted."""
    return isinstance(source, str) and Path(source).suffix.lower() in IMAGE_SUFFIXES


def load_anchors(
    source: int | str | Path | Sequence[int | str], latent_shape: tuple[int, ...]
) -> Float[np.ndarray, "3 *latent"]:
    """Three anchors: from one seed, one file of shape (3, *latent), or a seed or a file of one latent for each.

    Raises:
        ValueError: as ``load_latents``; and on an image, which only a model can turn into a latent.
    """
    if isinstance(source, int):
        return random_anchors(source, latent_shape)
    if isinstance(source, str | Path):
        return load_latents(source, (3, *latent_shape))
    return np.stack([load_anchor(entry, latent_shape) for entry in source])


def load_anchor(source: int | str, latent_shape: tuple[int, ...]) -> Float[np.ndarray, "*latent"]:
    """One anchor, from a seed or a file of one latent.

    Raises:
        ValueError: as ``load_latents``; and on an image, which only a model can turn into a latent.
    """
    if isinstance(source, int):
        return random_latent(source, latent_shape)
    if is_image(source):
        raise ValueError(f"anchor {source} is an image, which has to be inverted to a latent first")
    return load_latents(source, latent_shape)
