r"""Whether posteriors say how sure they are: ranks of the truth among their draws, and expected coverage.

Simulation-based calibration (Talts et al. 2018). Let ``t*`` be drawn from the prior, ``x`` from ``p(x | t*)``, and let
``P`` be the posterior of ``x``. If ``P`` is the true one, the probability that it gives to ``h(t) < h(t*)`` is uniform
on [0, 1] for every function ``h`` that does not look at ``t*``. Here ``h`` is each parameter, a projection on a random
direction, and the distance to a random point, whose ranks are the credibilities of TARP (Lemos et al. 2023): the
share below ``c`` is the expected coverage of regions of credibility ``c``. A posterior too narrow puts the truth into
both tails, one too wide into the middle, one that is shifted to one side.

What it means depends on where the posterior comes from.

- *A network*, or any posterior whose likelihood the samples follow: all of it applies to states that the network was
  not trained on. It is necessary, not sufficient: the prior itself, learned from nothing, is calibrated.
- *Distances of features.* ``N`` is a resolution knob and the kernel a model: the posterior is that of an observer who
  sees the features with noise of variance ``1 / N`` added, the nodes being the prior. Of such an observer it is the
  true one, whatever the features. A deterministic sampler has no noise, and the truth sits at the mode of every
  row: the ranks gather in the middle, and say only how far the chosen resolution is from what the samples could
  tell. With random samples that are left out of their own rows the ranks tell whether ``1 / N`` is their scatter.
- *A fit.* Draws from the measured posterior in place of the truth, ranked in the fitted one, tell whether the fit
  says what it was fitted to: too narrow, too wide or beside it. This applies to every posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kstwo

from hessgeo.grids import Frame

LEVELS = np.linspace(0.05, 0.95, 19)
SIGNIFICANCE = 0.01  # below which a posterior is called not calibrated
_TIE = 1e-9  # in box units: a truth on a node is that node
_UNIFORM_VARIANCE, _SQUARE_VARIANCE = 1 / 12, 1 / 180  # of u and of (u - 1/2)^2, u uniform


def rank_names(axes: int) -> tuple[str, ...]:
    """What ranks are taken along: each parameter, a random direction where there are two, a random point's distance."""
    return ("a", "distance") if axes == 1 else (*"ab"[:axes], "projection", "distance")


@dataclass(frozen=True)
class RankTests:
    """The random choices of a calibration, drawn for all posteriors at once, so that blocks of rows change nothing.

    Attributes:
        points: that carry the probability, in units of their box about its centre.
        frame: that box.
        direction: of each posterior's projection, unit vectors.
        reference: each posterior's random point, uniform in the box.
        tie: where in the probability of the truth's own place its rank lies, uniform: exact for discrete posteriors.
    """

    points: Float[np.ndarray, "point axis"]
    frame: Frame
    direction: Float[np.ndarray, "n axis"]
    reference: Float[np.ndarray, "n axis"]
    tie: Float[np.ndarray, "n test"]

    @classmethod
    def draw(cls, points: Float[np.ndarray, "point axis"], count: int, seed: int) -> RankTests:
        """The choices for so many posteriors over some points."""
        rng, axes, frame = np.random.default_rng(seed), points.shape[1], Frame.around(points)
        direction = rng.standard_normal((count, axes))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        reference = rng.uniform(-1, 1, (count, axes))
        tie = rng.random((count, len(rank_names(axes))))
        return cls(frame.into(points), frame, direction, reference, tie)

    def ranks(
        self,
        p: Float[np.ndarray, "row point"],
        truth: Float[np.ndarray, "row axis"],
        rows: slice = slice(None),
    ) -> Float[np.ndarray, "row test"]:
        """Rank of the truth in each posterior along each of ``rank_names``, between 0 and 1.

        Args:
            p: posteriors, each summing to one.
            truth: parameters of what each was computed from; where that lies between points, the rank is that of the
                place itself, with no part of any point's probability.
            rows: which of all posteriors these are.

        Raises:
            ValueError: on a posterior over another number of points, or that does not sum to one.
        """
        if p.shape[1] != len(self.points) or not np.allclose(p.sum(axis=1), 1, atol=1e-5):
            raise ValueError(f"posteriors must each sum to one over {len(self.points)} points, not {p.shape}")
        u, true, tie = self.points, self.frame.into(np.asarray(truth, dtype=float)), self.tie[rows]
        direction, reference = self.direction[rows], self.reference[rows]
        pairs = [(side[None], own) for side, own in zip(u.T, true.T, strict=True)]
        if u.shape[1] > 1:
            pairs.append((direction @ u.T, np.vecdot(direction, true)))
        apart = np.linalg.norm(u[None] - reference[:, None], axis=-1)
        pairs.append((apart, np.linalg.norm(true - reference, axis=1)))
        return np.stack([_rank(p, *pair, tie[:, k]) for k, pair in enumerate(pairs)], axis=1)


def _rank(
    p: Float[np.ndarray, "row point"],
    values: Float[np.ndarray, "any point"],
    own: Float[np.ndarray, "row"],
    tie: Float[np.ndarray, "row"],
) -> Float[np.ndarray, "row"]:
    off = values - own[:, None]
    below, level = (p * (off < -_TIE)).sum(axis=1), (p * (np.abs(off) <= _TIE)).sum(axis=1)
    return np.clip(below + tie * level, 0.0, 1.0)


def drawn_points(
    p: Float[np.ndarray, "row point"], uniform: Float[np.ndarray, "row"]
) -> Int[np.ndarray, "row"]:
    """The number of one point drawn from each posterior, by a uniform number each."""
    cumulative = np.cumsum(p, axis=1)
    cumulative /= cumulative[:, -1:]
    return (cumulative <= uniform[:, None]).sum(axis=1).clip(max=p.shape[1] - 1)


@dataclass(frozen=True)
class CalibrationVerdict:
    """What ranks say of posteriors.

    Attributes:
        calibrated: whether ``p_value`` is at least ``SIGNIFICANCE``.
        p_value: of the least probable of all tests, times their number (Bonferroni).
        words: ``calibrated``, ``too narrow``, ``too wide`` or ``shifted along`` what.
        by_test: of each test ``p_value``, and the ``shift`` of the mean rank from 1/2 and the excess of their variance
            over 1/12 as ``spread`` (positive: too narrow), both in standard errors.
        coverage: share of truths within the regions of 50 and 90 % about random points (``expected_coverage``).
    """

    calibrated: bool
    p_value: float
    words: str
    by_test: dict[str, dict[str, float]]
    coverage: dict[str, float]


def judge_ranks(ranks: Float[np.ndarray, "n test"], names: tuple[str, ...]) -> CalibrationVerdict:
    """Kuiper's test of uniformity for each column, and in which way the worst one fails.

    The ranks must be of posteriors whose data are independent. Every node of a grid once in place of draws from the
    prior makes the test a little conservative.

    Raises:
        ValueError: if there are fewer than 8 ranks, or not as many names as columns.
    """
    if len(ranks) < 8 or ranks.shape[1] != len(names):
        raise ValueError(f"ranks must be at least 8 along each of {', '.join(names)}, not {ranks.shape}")
    by_test = {}
    for name, column in zip(names, ranks.T, strict=True):
        off = column - 0.5
        by_test[name] = {
            "p_value": kuiper_p_value(column),
            "shift": float(off.mean() / np.sqrt(_UNIFORM_VARIANCE / len(column))),
            "spread": float(((off**2).mean() - _UNIFORM_VARIANCE) / np.sqrt(_SQUARE_VARIANCE / len(column))),
        }
    p_value = min(1.0, len(names) * min(test["p_value"] for test in by_test.values()))
    calibrated, covered = p_value >= SIGNIFICANCE, expected_coverage(ranks[:, -1])
    at = {level: float(covered[np.abs(LEVELS - level / 100).argmin()]) for level in (50, 90)}
    return CalibrationVerdict(
        calibrated,
        p_value,
        "calibrated" if calibrated else _fault(by_test),
        by_test,
        {f"coverage_{level}": share for level, share in at.items()},
    )


def _fault(by_test: dict[str, dict[str, float]]) -> str:
    """How posteriors fail, by the moment that is farthest from that of calibrated ones."""
    shifted = max(by_test, key=lambda name: abs(by_test[name]["shift"]))
    spread = max((test["spread"] for test in by_test.values()), key=abs)
    if abs(by_test[shifted]["shift"]) > abs(spread):
        return f"shifted along {shifted}"
    return "too narrow" if spread > 0 else "too wide"


def expected_coverage(
    credibility: Float[np.ndarray, "n"], levels: Float[np.ndarray, "level"] = LEVELS
) -> Float[np.ndarray, "level"]:
    """Share of truths within regions of each credibility about random points (TARP), the levels if calibrated."""
    return (credibility[:, None] < levels).mean(axis=0)


def coverage_band(count: int, mass: float = 0.95) -> float:
    """Half width of the band about the diagonal that holds the whole coverage of so many calibrated posteriors."""
    return float(kstwo.ppf(mass, count))


def kuiper_p_value(u: Float[np.ndarray, "n"]) -> float:
    """Probability that as many uniform numbers are as uneven, by Kuiper's statistic ``V = D+ + D-``.

    Unlike that of Kolmogorov and Smirnov it sees a lack in both tails as well as a shift. The distribution is Stephens'
    (1970) approximation, good to a few per cent of itself from 8 numbers on.
    """
    u, n = np.sort(u), len(u)
    above, below = (np.arange(1, n + 1) / n - u).max(), (u - np.arange(n) / n).max()
    z = (above + below) * (np.sqrt(n) + 0.155 + 0.24 / np.sqrt(n))
    if z < 0.4:  # the series needs more terms there, and is 1 to ten digits
        return 1.0
    square = (np.arange(1, 101) * z) ** 2
    return float(np.clip(2 * ((4 * square - 1) * np.exp(-2 * square)).sum(), 0.0, 1.0))


def region_mass(
    p: Float[np.ndarray, "n node"], target: Float[np.ndarray, "n node"], levels: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "n m"]:
    """Mass of each target within the highest-density region of mass ``level`` of ``p``.

    The last node of a region counts in part, so that regions have their mass exactly and ``target = p`` gives
    ``level``.
    """
    order = np.argsort(-p, axis=1, kind="stable")
    p, target = np.take_along_axis(p, order, axis=1), np.take_along_axis(target, order, axis=1)
    before = np.cumsum(p, axis=1) - p
    safe = np.maximum(p, np.finfo(float).tiny)
    inside = [(np.clip((level - before) / safe, 0.0, 1.0) * target).sum(axis=1) for level in levels]
    return np.stack(inside, axis=1)
