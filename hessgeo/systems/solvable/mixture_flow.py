r"""The variance-preserving flow whose data are a mixture of Gaussians: a diffusion model that is known exactly.

Data are drawn at the modes ``mu_k`` with odds ``w_k`` and width ``sigma``; the noisy state is ``x = alpha x_0 +
sqrt(1 - alpha^2) z``, from pure noise at ``alpha = 0`` to data at ``alpha = 1``. Its density is the mixture of
``N(alpha mu_k, v)`` with ``v = alpha^2 sigma^2 + 1 - alpha^2``, so the score is a finite sum. In the time ``tau =
alpha / sqrt(v)``, from 0 to ``1 / sigma``, and the state ``y = x / sqrt(v)`` the ODE of the probability flow (Song et
al. 2021) has no width and no schedule left in it,

``dy / dtau = E[mu | y]``, odds of mode ``k`` proportional to ``w_k exp(tau <y, mu_k> - tau^2 |mu_k|^2 / 2)``,

and its Jacobian obeys ``dJ / dtau = tau Cov[mu | y] J``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from hessgeo.numerics.extrapolation import TOLERANCE, integrate
from hessgeo.systems.solvable.mixture_cells import corners, edge
from hessgeo.systems.solvable.mixture_decisions import parting_time

States = Float[np.ndarray, "n d"]
# A number of steps, or the noise levels ``alpha`` from the first to the last.
Steps = int | Sequence[float] | Float[np.ndarray, "k"]

RULES = ("ddim", "renewal")


class MixtureFlow:
    """The flow from noise ``z`` to data ``x``, with a phase for every mode.

    Args:
        modes: their centres, (k, d); numbers of a line may be given alone.
        weights: odds of the modes, in any unit; equal unless given.
        sigma: width of each mode, in units of the noise at ``alpha = 0``.

    Raises:
        ValueError: on modes that are none or not finite, weights of another number, or a weight or width that is not
            positive.
    """

    def __init__(
        self,
        modes: Float[np.ndarray, "k d"] | Float[np.ndarray, "k"],
        weights: Float[np.ndarray, "k"] | None = None,
        *,
        sigma: float,
    ) -> None:
        modes = np.asarray(modes, dtype=np.float64)
        modes = modes[:, None] if modes.ndim == 1 else modes
        if modes.ndim != 2 or 0 in modes.shape or not np.isfinite(modes).all():
            raise ValueError(
                f"modes have shape {modes.shape}, must be finite and of shape (modes, dimension)"
            )
        weights = np.ones(len(modes)) if weights is None else np.asarray(weights, dtype=np.float64)
        if weights.shape != (len(modes),) or not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError(f"weights are {weights.tolist()}, must be {len(modes)} positive numbers")
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma is {sigma}, must be positive")
        self.modes, self.weights, self.sigma = modes, weights / weights.sum(), float(sigma)

    @property
    def dimension(self) -> int:
        """Dimension of the space of data, and of noise."""
        return self.modes.shape[1]

    # The clock.

    def variance(self, alpha: Float[np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"]:
        """``v``, the variance of a mode at a noise level."""
        alpha = np.asarray(alpha, dtype=np.float64)
        return alpha**2 * self.sigma**2 + (1 - alpha) * (1 + alpha)

    def clock(self, alpha: Float[np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"]:
        """``tau = alpha / sqrt(v)``, the time in which the flow is simple."""
        return np.asarray(alpha / np.sqrt(self.variance(alpha)))

    def level(self, tau: Float[np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"]:
        """The noise level ``alpha`` at a time ``tau``."""
        tau = np.asarray(tau, dtype=np.float64)
        return tau / np.sqrt(1 + tau**2 * (1 - self.sigma**2))

    # What is known of a state.

    def responsibilities(self, x: States, alpha: float = 1.0) -> Float[np.ndarray, "n k"]:
        """Odds of each mode given the state ``x`` at a noise level, in the precision of ``x``."""
        x = self._states(x)
        modes, v = self.modes.astype(x.dtype), x.dtype.type(self.variance(alpha))
        log_odds = (alpha * _inner(x, modes) - alpha**2 * (modes**2).sum(axis=1) / 2) / v
        return _softmax((log_odds + np.log(self.weights)).astype(x.dtype))

    def denoised(self, x: States, alpha: float) -> States:
        """``E[x_0 | x]`` at a noise level: what a network predicts of the clean data, in the precision of ``x``."""
        x = self._states(x)
        mean = _mean(self.responsibilities(x, alpha), self.modes.astype(x.dtype))
        return mean + x.dtype.type(self.sigma**2 * alpha / self.variance(alpha)) * (
            x - x.dtype.type(alpha) * mean
        )

    def score(self, x: States, alpha: float) -> States:
        """``grad log p(x)`` at a noise level."""
        x = self._states(x)
        mean = _mean(self.responsibilities(x, alpha), self.modes.astype(x.dtype))
        return (x.dtype.type(alpha) * mean - x) / x.dtype.type(self.variance(alpha))

    def log_density(self, x: States, alpha: float = 1.0) -> Float[np.ndarray, "n"]:
        """``log p(x)`` at a noise level, in nats."""
        x, v = self._states(x).astype(np.float64), self.variance(alpha)
        distance = ((x[:, None, :] - alpha * self.modes) ** 2).sum(axis=2)
        terms = np.log(self.weights) - distance / (2 * v) - self.dimension / 2 * np.log(2 * np.pi * v)
        return np.logaddexp.reduce(terms, axis=1)

    # The exact flow.

    def map(self, z: States, *, tolerance: float = TOLERANCE) -> States:
        """The data ``x`` at which the flow from the noise ``z`` ends, to about ``tolerance`` times the map's slope."""
        return self.path(z, (0.0, 1.0), tolerance=tolerance)[-1]

    def inverse(self, x: States, *, tolerance: float = TOLERANCE) -> States:
        """The noise from which the flow ends at the data ``x``."""
        return self.path(x, (1.0, 0.0), tolerance=tolerance)[-1]

    def path(
        self, x: States, alphas: Sequence[float] | Float[np.ndarray, "s"], *, tolerance: float = TOLERANCE
    ) -> Float[np.ndarray, "s n d"]:
        """The exact flow through ``x`` at the first of some noise levels, at each of them, in float64.

        Raises:
            ValueError: on states of another dimension, or levels outside [0, 1].
        """
        levels = _checked_levels(alphas)
        y = self._states(x).astype(np.float64) / np.sqrt(self.variance(levels[0]))
        states = [y]
        for begin, end in zip(self.clock(levels[:-1]), self.clock(levels[1:]), strict=True):
            states.append(integrate(self._velocity, states[-1], begin, end, tolerance=tolerance))
        return np.stack(states) * np.sqrt(self.variance(levels))[:, None, None]

    def jacobian(self, z: States, *, tolerance: float = TOLERANCE) -> Float[np.ndarray, "n d d"]:
        """``[n, i, j] = d x_i / d z_j`` of the map, by the variational equation along the flow."""
        return self.map_and_jacobian(z, tolerance=tolerance)[1]

    def map_and_jacobian(
        self, z: States, *, tolerance: float = TOLERANCE
    ) -> tuple[States, Float[np.ndarray, "n d d"]]:
        """``map`` and ``jacobian`` in one go."""
        z, d = self._states(z).astype(np.float64), self.dimension
        unit = np.broadcast_to(np.eye(d).reshape(-1), (len(z), d * d))
        end = integrate(
            self._variation, np.concatenate([z, unit], axis=1), 0.0, 1 / self.sigma, tolerance=tolerance
        )
        return self.sigma * end[:, :d], self.sigma * end[:, d:].reshape(-1, d, d)

    def lipschitz(self, z: States) -> Float[np.ndarray, "n"]:
        """The largest stretching of the map at each noise, its Jacobian's first singular value."""
        return np.linalg.svd(self.jacobian(z), compute_uv=False)[:, 0]

    def label(self, z: States) -> Int[np.ndarray, "n"]:
        """The phase of each noise: the likeliest mode of the data at which its flow ends."""
        return self.nearest(self.map(z))

    def nearest(self, x: States) -> Int[np.ndarray, "n"]:
        """The likeliest mode of each point of data."""
        return np.argmax(self.responsibilities(x), axis=1)

    # Phases in the space of noise, exact: the flow runs both ways.

    def boundary(
        self, i: int, j: int, *, reach: float = 3.0, count: int = 401
    ) -> Float[np.ndarray, "m 2"] | None:
        """Points of the boundary between two phases, in order and evenly spaced, within ``reach`` of the origin.

        The edge between both modes in the space of data, taken back by the flow, which contracts towards it. None where
        the two phases do not touch there.

        Raises:
            ValueError: unless the data are in the plane, and the modes apart.
        """
        self._check_plane("boundary lines")
        line = edge(self.modes, self.weights, self.sigma, (i, j))
        if line is None:
            return None
        # The flow moves no point farther than this: |x| <= sigma |z| + max |mu|, as dy / dtau is a mean of the modes.
        far = self.sigma * reach + 2 * np.linalg.norm(self.modes, axis=1).max() + np.linalg.norm(line.point)
        places = np.linspace(max(line.low, -far), min(line.high, far), count)
        for _ in range(3):
            points = self.inverse(line.point + places[:, None] * line.direction)
            along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
            inside = np.flatnonzero(np.linalg.norm(points, axis=1) <= reach)
            if len(inside) < 2:
                return None
            first, last = float(along[inside[0]]), float(along[inside[-1]])
            places = np.asarray(np.interp(np.linspace(first, last, count), along, places))
        return points[np.linalg.norm(points, axis=1) <= reach]

    def triple_points(self) -> list[tuple[tuple[int, ...], Float[np.ndarray, "2"]]]:
        """The modes whose phases meet at a point, three or more, and the noise where they do.

        Raises:
            ValueError: unless the data are in the plane.
        """
        self._check_plane("triple points")
        found = corners(self.modes, self.weights, self.sigma)
        places = self.inverse(np.array([place for _, place in found]).reshape(-1, 2))
        return [(names, place) for (names, _), place in zip(found, places, strict=True)]

    def decision(self, i: int, j: int) -> float:
        """The level ``alpha`` from which on two modes have maxima of their own in the density of noisy states.

        NaN if they never do. Of one pair at ``+m`` and ``-m``: ``alpha^2 = 1 / (1 + m^2 - sigma^2)``.

        Raises:
            ValueError: if there is no such pair.
        """
        if i == j or not {i, j} <= set(range(len(self.modes))):
            raise ValueError(f"the pair is ({i}, {j}), must be two of the modes 0 to {len(self.modes) - 1}")
        return float(self.level(parting_time(self.modes, self.weights, (i, j), last=1 / self.sigma)))

    # What a study's sampler does.

    def sample(
        self,
        z: States,
        steps: Steps,
        *,
        eta: float = 0.0,
        eta_rule: str = "ddim",
        noise: Float[np.ndarray, "s n d"] | None = None,
    ) -> States:
        """Data by DDIM (Song et al. 2021) with some steps from the noise ``z``, in the precision of ``z``.

        Args:
            z: latents, at the first level.
            steps: how many, see ``noise_levels``; or all levels from the first to the last.
            eta: of the noise that a step adds, see ``step_noise``.
            eta_rule: ``ddim`` or ``renewal``.
            noise: a standard normal number for each step and coordinate; needed if ``eta`` is above 0.
        """
        return self.trajectory(z, steps, eta=eta, eta_rule=eta_rule, noise=noise)[0][-1]

    def predictions(self, z: States, steps: Steps) -> Float[np.ndarray, "s n d"]:
        """``E[x_0 | x_s]`` at the start of every step of the deterministic sampler."""
        return self.trajectory(z, steps)[1]

    def trajectory(
        self,
        z: States,
        steps: Steps,
        *,
        eta: float = 0.0,
        eta_rule: str = "ddim",
        noise: Float[np.ndarray, "s n d"] | None = None,
    ) -> tuple[Float[np.ndarray, "k n d"], Float[np.ndarray, "s n d"]]:
        """States at every level, and predictions at the start of every step; arguments as of ``sample``.

        Raises:
            ValueError: if noise is added and none is given, or of another shape.
        """
        alphas = noise_levels(steps)
        added = step_noise(alphas, eta, eta_rule)
        x = self._states(z)
        if eta > 0 and (noise is None or noise.shape != (len(added), *x.shape)):
            shape = None if noise is None else noise.shape
            raise ValueError(f"noise has shape {shape}, must be {(len(added), *x.shape)}, as eta is {eta}")
        states, predictions = [x], []
        for k, width in enumerate(added):
            mean, prediction = self.step_mean(states[-1], alphas[k], alphas[k + 1], width)
            if noise is not None and width > 0:
                mean = mean + (width * noise[k]).astype(x.dtype)
            states.append(mean)
            predictions.append(prediction)
        return np.stack(states), np.stack(predictions)

    def step_mean(self, x: States, alpha: float, target: float, width: float) -> tuple[States, States]:
        """Where a DDIM step from one level to the next leads before its noise of ``width``, and its prediction."""
        number = x.dtype.type
        prediction = self.denoised(x, alpha)
        residue = (x - number(alpha) * prediction) / number(math.sqrt((1 - alpha) * (1 + alpha)))
        left = math.sqrt(max((1 - target) * (1 + target) - width**2, 0.0))
        return number(target) * prediction + number(left) * residue, prediction

    # The equations.

    def _velocity(self, tau: Float[np.ndarray, "n"], y: States) -> States:
        return _mean(self._odds(tau, y), self.modes)

    def _variation(
        self, tau: Float[np.ndarray, "n"], state: Float[np.ndarray, "n m"]
    ) -> Float[np.ndarray, "n m"]:
        d = self.dimension
        odds = self._odds(tau, state[:, :d])
        mean = _mean(odds, self.modes)
        apart = self.modes[None] - mean[:, None]
        covariance = np.einsum("nk,nki,nkj->nij", odds, apart, apart)
        turned = np.einsum("nij,njl->nil", covariance, state[:, d:].reshape(-1, d, d))
        return np.concatenate([mean, (tau[:, None, None] * turned).reshape(len(state), -1)], axis=1)

    def _odds(self, tau: Float[np.ndarray, "n"], y: States) -> Float[np.ndarray, "n k"]:
        square = (self.modes**2).sum(axis=1) / 2
        return _softmax(
            tau[:, None] * _inner(y, self.modes) - tau[:, None] ** 2 * square + np.log(self.weights)
        )

    def _check_plane(self, what: str) -> None:
        if self.dimension != 2:
            raise ValueError(f"the data have {self.dimension} dimensions, must have 2 for {what}")

    def _states(self, x: States) -> States:
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"states have shape {x.shape}, must be (n, {self.dimension})")
        return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def noise_levels(steps: Steps) -> Float[np.ndarray, "k"]:
    """The levels ``alpha`` at the ends of all steps: ``sin(pi k / (2 K))``, even in angle, unless they are given.

    Raises:
        ValueError: on less than one step, or levels that do not rise within [0, 1].
    """
    if isinstance(steps, int | np.integer):
        if steps < 1:
            raise ValueError(f"steps is {steps}, must be at least 1")
        return np.sin(np.pi / 2 * np.arange(steps + 1) / steps)
    levels = _checked_levels(steps)
    if len(levels) < 2 or not np.all(np.diff(levels) > 0):
        raise ValueError(f"levels are {levels.tolist()}, must be two or more that rise")
    return levels


def step_noise(alphas: Float[np.ndarray, "k"], eta: float, rule: str = "ddim") -> Float[np.ndarray, "s"]:
    """Width of the noise that each step adds; none at the last, which ends at ``alpha = 1``.

    ``ddim``: ``eta`` times the deviation of DDPM's posterior, ``sqrt((1 - b^2) / (1 - a^2)) sqrt(1 - a^2 / b^2)`` for a
    step from ``a`` to ``b`` (Song et al. 2021, Eq. 16); ``renewal``: ``eta sqrt(1 - b^2)``, a share of all noise that
    is left, as in the code of Lobashev et al. (2025). Of many steps of the latter the data come out narrower than they
    are, in each mode by the factor ``sqrt((1 + sqrt(1 - eta^2)) / 2)``: a prediction is no draw of the clean data.

    Raises:
        ValueError: on another rule, or ``eta`` outside [0, 1].
    """
    if rule not in RULES:
        raise ValueError(f"eta_rule is {rule}, must be one of {', '.join(RULES)}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}, must be between 0 and 1")
    start, end = np.asarray(alphas[:-1]), np.asarray(alphas[1:])
    left = np.sqrt((1 - end) * (1 + end))
    if rule == "renewal":
        return eta * left
    return eta * left * np.sqrt((1 - (start / end) ** 2) / ((1 - start) * (1 + start)))


def _checked_levels(alphas: Sequence[float] | Float[np.ndarray, "s"]) -> Float[np.ndarray, "s"]:
    levels = np.asarray(alphas, dtype=np.float64)
    if levels.ndim != 1 or len(levels) == 0 or not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"levels are {levels.tolist()}, must lie between 0 and 1")
    return levels


# Sums over few terms, in their order: a product of matrices would round by the size of its batch.


def _inner(x: States, modes: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
    total = x[:, :1] * modes[None, :, 0]
    for axis in range(1, modes.shape[1]):
        total = total + x[:, axis : axis + 1] * modes[None, :, axis]
    return total


def _mean(odds: Float[np.ndarray, "n k"], modes: Float[np.ndarray, "k d"]) -> States:
    total = odds[:, :1] * modes[None, 0]
    for mode in range(1, len(modes)):
        total = total + odds[:, mode : mode + 1] * modes[None, mode]
    return total


def _softmax(log_odds: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    weight = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    total = weight[:, :1].copy()
    for mode in range(1, weight.shape[1]):
        total = total + weight[:, mode : mode + 1]
    return weight / total
