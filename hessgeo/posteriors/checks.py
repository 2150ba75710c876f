"""What every posterior of distances refuses of what it is given."""

from __future__ import annotations

import numpy as np

HIGHEST = 1e30  # times a squared distance it is still a number in single precision


def check_resolution(resolution: float) -> None:
    """Refuse a resolution number that is none.

    Raises:
        ValueError: if it is not positive, or above ``HIGHEST``.
    """
    if not isinstance(resolution, int | float | np.number) or not 0 < resolution <= HIGHEST:
        raise ValueError(f"resolution must be a positive number of at most {HIGHEST:g}, not {resolution}")


def check_parameters(n: int, t: np.ndarray, resolution: float, exclude_self: bool) -> None:
    """Refuse parameters that are not those of ``n`` samples, and a single sample without itself.

    Raises:
        ValueError: if they are not, or not finite, or there is no sample.
    """
    if n < 1:
        raise ValueError("embedding must have at least one row")
    if np.shape(t) not in ((n, 1), (n, 2)) or not np.isfinite(t).all():
        raise ValueError(f"t must be finite of shape ({n}, 2), or 1, not {np.shape(t)}")
    check_resolution(resolution)
    if exclude_self and n < 2:
        raise ValueError("exclude_self needs at least two samples, not 1")


def check_amounts(n: int, neighbours: int, threads: int, exclude_self: bool) -> None:
    """Refuse more neighbours than there are, and fewer threads than one.

    Raises:
        ValueError: if either is out of range.
    """
    most = n - bool(exclude_self)
    if not 0 <= neighbours <= most:
        raise ValueError(f"neighbours must lie in 0..{most}, not {neighbours}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
