"""Windows deep in a slice of latents: the latent at a centre, and the way to a point nearby, to all digits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

from hessgeo.systems.slices import LATENT, LatentSlice


@dataclass(frozen=True)
class LatentWindow:
    """A slice of latents seen from one point of it.

    ``LatentSlice.latents(t)`` rounds ``t`` and the latent before anything is compared: of two points 1e-12 apart their
    difference keeps four digits. Here a point is given by its step from the centre, and its latent by the difference to
    the centre's, ``z(c + s) - z(c)``, which keeps all digits however short the step is. With ``z = g q / n``, of the
    affine latent ``q``, its norm ``n`` and its radius ``g`` in the sense of the slice's normalisation,

        ``z' - z = (g' (q' - q) + (g' - g) q - g q (n' - n) / n) / n'``, ``n' - n = <q' - q, q' + q> / (n' + n)``.

    Args:
        plane: the slice, linearly interpolated, both parameters of which move the latent.
        centre: a point of it, in parameters.

    Raises:
        ValueError: on a slice of another kind, or a centre outside its box.
    """

    plane: LatentSlice
    centre: tuple[float, float]

    def __post_init__(self) -> None:
        if self.plane.interpolation != "linear" or self.plane.axes != (LATENT, LATENT):
            raise ValueError("a window needs a slice of two parameters that is linear in the latents alone")
        if not all(low <= c <= high for c, (low, high) in zip(self.centre, self.plane.extent, strict=True)):
            raise ValueError(f"centre {self.centre} lies outside the extent {self.plane.extent}")

    @property
    def centre_latent(self) -> Float64[np.ndarray, "*latent"]:
        """The latent at the centre."""
        latent = self._radius * self._affine / self._norm
        return latent.reshape(self.plane.latent_shape)

    def offsets(self, step: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n *latent"]:
        """Latents less that of the centre, at steps from the centre in parameters, to all digits."""
        step = np.asarray(step, dtype=np.float64)
        moved = step @ self._edges
        shape = (len(step), *self.plane.latent_shape)
        if self.plane.normalisation == "none":
            return moved.reshape(shape)
        seen, seen_moved = self._seen(self._affine), self._seen(moved)
        squared = (seen_moved * (2 * seen + seen_moved)).sum(axis=1) / self._unit**2
        longer = squared / (np.sqrt(self._norm**2 + squared) + self._norm)
        wider = step @ self._radius_edges
        radius = (self._radius + wider)[:, None]
        change = radius * moved + np.outer(wider - self._radius * longer / self._norm, self._affine)
        return (change / (self._norm + longer)[:, None]).reshape(shape)

    def latents(self, step: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n *latent"]:
        """Latents at steps from the centre, rounded once."""
        return self.centre_latent + self.offsets(step)

    @cached_property
    def _anchors(self) -> Float64[np.ndarray, "3 dim"]:
        return self.plane.anchors.astype(np.float64).reshape(3, -1)

    @cached_property
    def _edges(self) -> Float64[np.ndarray, "2 dim"]:
        return self._anchors[1:] - self._anchors[0]

    @cached_property
    def _affine(self) -> Float64[np.ndarray, "dim"]:
        return self._anchors[0] + np.array(self.centre) @ self._edges

    def _seen(self, latent: Float64[np.ndarray, "*n dim"]) -> Float64[np.ndarray, "*n dim"]:
        """The part of an affine latent whose norm is made one value: all of it, or its deviation from the mean."""
        centred = self.plane.normalisation == "std"
        return latent - latent.mean(axis=-1, keepdims=True) if centred else latent

    @cached_property
    def _unit(self) -> float:
        """What norms are counted in: standard deviations of the components, but for radii of the anchors."""
        return math.sqrt(self._affine.size) if self.plane.normalisation in ("sphere", "std") else 1.0

    @cached_property
    def _norm(self) -> float:
        if self.plane.normalisation == "none":
            return 1.0
        return float(np.linalg.norm(self._seen(self._affine))) / self._unit

    @cached_property
    def _radii(self) -> Float64[np.ndarray, "3"]:
        if self.plane.normalisation != "anchors":
            return np.ones(3)
        return np.linalg.norm(self._anchors, axis=1)

    @cached_property
    def _radius_edges(self) -> Float64[np.ndarray, "2"]:
        return self._radii[1:] - self._radii[0]

    @cached_property
    def _radius(self) -> float:
        return float(self._radii[0] + np.array(self.centre) @ self._radius_edges)
