"""How far a solution of the dual problem is from a potential that is known."""

import numpy as np
import torch


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
