"""Log-sum-exps of planes as potentials, and how far a solution of the dual problem is from one."""

import numpy as np
import torch
from potentials import KnownPotential


def planes(count: int, sharpness: float, seed: int = 0) -> KnownPotential:
    """The soft maximum of planes drawn at random: kinks as sharp as one likes."""
    rng = np.random.default_rng(seed)
    slopes, heights = (
        torch.from_numpy(rng.normal(size=(count, 2))),
        torch.from_numpy(0.3 * rng.normal(size=count)),
    )

    def formula(t: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(sharpness * (t @ slopes.T + heights), dim=-1) / sharpness

    return KnownPotential(f"{count} planes", formula)


def exact_errors(solution, grid, potential, resolution) -> tuple[float, float]:
    """Largest errors at the nodes, of F in its range and of the slopes in theirs, up to an affine function."""
    t = torch.from_numpy(grid.points)
    value, slope = potential.value(t).numpy(), potential.gradient(t).numpy()
    plane = np.column_stack([np.ones(len(value)), grid.points])
    off = (solution.point.phi / resolution).numpy() - value
    affine = np.linalg.lstsq(plane, off)[0]
    eta = (solution.point.theta / resolution).numpy() / np.array(grid.frame.half)
    return (
        float(np.abs(off - plane @ affine).max() / np.ptp(value)),
        float(np.abs(eta - slope - affine[1:]).max() / np.ptp(slope, axis=0).max()),
    )
