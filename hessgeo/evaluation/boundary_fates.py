"""The line h = 0 of exactly solved magnets, with the size of the system: where it is a transition, where a crossover.

On it the metric has a ridge at every coupling. Beyond the critical one two phases coexist across it and it grows with
the number of spins; before, it saturates at the susceptibility of the infinite system. So it is a test of the test,
``phases.scaling.size_verdict``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hessgeo.phases.scaling import CROSSOVER, TRANSITION, growth_rates, size_verdict
from hessgeo.systems.solvable.base import SolvableSystem
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.ising import CRITICAL_COUPLING, Ising

# Spins of the Curie-Weiss model, and sides of the torus, which together take a second.
SIZES = {"curie_weiss": (64, 128, 256, 512, 1024), "ising": (4, 6, 8, 10)}
CRITICAL = {"curie_weiss": 1.0, "ising": float(CRITICAL_COUPLING)}
# Couplings over the critical one: what Curie-Weiss is asked of, K from 0.4 to 2; of the torus the same.
RATIOS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)


@dataclass(frozen=True)
class LineFate:
    """What becomes of the line h = 0 of one system.

    Attributes:
        system: its name.
        couplings: ``K`` of each place on the line.
        critical: coupling at which the transition of the infinite system ends.
        spins: of each size.
        strengths: logarithm of the largest eigenvalue of the metric a spin, nats, of each size and place.
        rates: its rise per rise of ``log spins`` between the two largest sizes.
        verdicts: of each place.
    """

    system: str
    couplings: tuple[float, ...]
    critical: float
    spins: tuple[int, ...]
    strengths: Float[np.ndarray, "size place"]
    rates: Float[np.ndarray, "place"]
    verdicts: tuple[str, ...]

    @property
    def crossover_up_to(self) -> float:
        """Largest coupling up to which every place is called a crossover; NaN if the first is not."""
        known = [word == CROSSOVER for word in self.verdicts]
        count = known.index(False) if False in known else len(known)
        return self.couplings[count - 1] if count else float("nan")

    @property
    def transition_from(self) -> float:
        """Smallest coupling from which every place is called a transition; NaN if the last is not."""
        known = [word == TRANSITION for word in reversed(self.verdicts)]
        count = known.index(False) if False in known else len(known)
        return self.couplings[-count] if count else float("nan")

    @property
    def wrong(self) -> int:
        """Places called a transition below the critical coupling, or a crossover from it on."""
        beyond = np.array(self.couplings) >= self.critical * (1 - 1e-12)
        words = np.array(self.verdicts)
        return int(np.sum(beyond & (words == CROSSOVER)) + np.sum(~beyond & (words == TRANSITION)))


def line_fate(name: str, sizes: Sequence[int], ratios: Sequence[float] = RATIOS) -> LineFate:
    """Strength of the line h = 0 at each size, exact, and the verdict on each place.

    Args:
        name: ``curie_weiss``, whose sizes are numbers of spins, or ``ising``, whose sizes are sides of a torus.
        sizes: increasing, two or more.
        ratios: couplings over the critical one, increasing.
    """
    critical = CRITICAL[name]
    couplings = tuple(critical * ratio for ratio in ratios)
    points = np.array([(coupling, 0.0) for coupling in couplings])
    systems: list[SolvableSystem]
    if name == "ising":
        spins, systems = tuple(side**2 for side in sizes), [Ising(side) for side in sizes]
    else:
        spins, systems = tuple(sizes), [CurieWeiss(size) for size in sizes]
    largest = np.stack(
        [
            np.linalg.eigvalsh(one.fisher_metric(points))[:, -1] / count
            for one, count in zip(systems, spins, strict=True)
        ]
    )
    strengths, counts = np.log(largest), np.array(spins, dtype=float)
    words = tuple(str(word) for word in size_verdict(counts, strengths))
    return LineFate(name, couplings, critical, spins, strengths, growth_rates(counts, strengths)[-1], words)


def line_fates() -> list[LineFate]:
    """Those of both systems, of sizes that take a second together."""
    return [line_fate(name, sizes) for name, sizes in SIZES.items()]
