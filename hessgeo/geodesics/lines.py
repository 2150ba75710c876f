"""Ways between two points that ask no metric: straight, and spherical in the latent space of a slice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hessgeo.systems.slices import LatentSlice


def straight_lines(
    starts: Float[np.ndarray, "m 2"], ends: Float[np.ndarray, "m 2"], points: int
) -> Float[np.ndarray, "m n 2"]:
    """``points`` points along the straight line of each pair, evenly spaced, ends included."""
    share = np.linspace(0, 1, points)[:, None]
    return starts[:, None] * (1 - share) + ends[:, None] * share


def spherical_lines(
    starts: Float[np.ndarray, "m 2"], ends: Float[np.ndarray, "m 2"], plane: LatentSlice, points: int
) -> Float[np.ndarray, "m n 2"]:
    """Spherical linear interpolation (Shoemake 1985) of the latents of each pair, as points of the slice.

    ``z(s) = [sin((1 - s) w) u + sin(s w) v] / sin w`` with the directions ``u, v`` of the two latents and the angle
    ``w`` between them. It stays in their plane, so on a slice that is normalised to a sphere its points lie on the
    straight line of the parameters: what differs is their spacing, which is even in angle.

    Args:
        starts: first points.
        ends: last points.
        plane: the slice, whatever its normalisation: what counts are directions.
        points: of each path, ends included.

    Raises:
        ValueError: if two latents are opposite, so that no plane is theirs.
    """
    z0, z1, z2 = plane.anchors.astype(np.float64).reshape(3, -1)
    raw_start, raw_end = (z0 + t[:, :1] * (z1 - z0) + t[:, 1:] * (z2 - z0) for t in (starts, ends))
    sizes = [np.linalg.norm(raw, axis=1, keepdims=True) for raw in (raw_start, raw_end)]
    cosine = np.sum(raw_start * raw_end, axis=1, keepdims=True) / (sizes[0] * sizes[1])
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.any(angle > np.pi - 1e-6):
        raise ValueError("two latents are opposite: no shortest way on the sphere joins them")
    s = np.linspace(0, 1, points)
    small = angle < 1e-9
    first, second = (np.where(small, share, np.sin(share * angle)) for share in (1 - s, s))
    first, second = first / sizes[0], second / sizes[1]
    # The ray through the interpolated latent meets the slice, an affine plane, where the weights sum to one.
    share = (second / (first + second))[..., None]
    return starts[:, None] * (1 - share) + ends[:, None] * share
