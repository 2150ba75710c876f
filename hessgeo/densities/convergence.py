"""How fast graph distances come to the true ones: in the number of points, and of quadrature nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.densities.mixtures import IsotropicMixture
from hessgeo.geodesics.graphs import epsilon_edges, geodesic_graph
from hessgeo.metrics.conformal import DensityMetric

# (number, seed) -> points.
Draw = Callable[[int, int], Float[Tensor, "n d"]]


def shrinking_epsilon(count: int, *, dimension: int, factor: float) -> float:
    """``epsilon = factor * count^(-1 / (2 d - 1))``, at which both errors of a graph distance fall alike.

    A chord of length ``epsilon`` through a smooth metric is too long by a share that goes as ``epsilon^2``.
    A path over random points must swerve: in a tube of width ``y`` about the geodesic each stretch of length
    ``epsilon`` holds a point once ``n epsilon y^(d - 1) ~ 1``, and the swerves cost a share
    ``(y / epsilon)^2 ~ (n epsilon^d)^(-2 / (d - 1))``. The shares are equal at this ``epsilon``, and the error is
    then of the order ``n^(-2 / (2 d - 1))``: the power -2/3 in the plane. Theorem 2.5 of Kim et al. (2024) says that
    it converges; this says how fast.
    """
    return factor * count ** (-1 / (2 * dimension - 1))


def theoretical_slope(dimension: int) -> float:
    """Power of the number of points that the error falls with at ``shrinking_epsilon``."""
    return -2 / (2 * dimension - 1)


def point_convergence(
    metric: DensityMetric,
    ends: Float[Tensor, "2 d"],
    exact: float,
    draw: Draw,
    *,
    counts: Sequence[int],
    replicates: int,
    factor: float,
    nodes: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Relative error of the graph distance between two points against the number of points (Kim et al., Fig. 4).

    Args:
        metric: of the edges.
        ends: the two points, which are added to those drawn.
        exact: their distance.
        draw: the points.
        counts: numbers of points.
        replicates: independent graphs for each.
        factor: of ``shrinking_epsilon``.
        nodes: of the quadrature along each edge; None for adaptive quadrature.
        seed: of the draws.

    Returns:
        A row a graph: ``count``, ``replicate``, ``epsilon``, ``edges``, ``components`` and ``error``, infinite
        where the graph does not join the two points.
    """
    rows = []
    dimension = ends.shape[1]
    for count in counts:
        epsilon = shrinking_epsilon(count, dimension=dimension, factor=factor)
        for replicate in range(replicates):
            # Neither the order of the counts nor their number moves a draw.
            stream = int(np.random.SeedSequence([seed, count, replicate]).generate_state(1)[0])
            points = torch.cat([ends, draw(count, stream)]).cpu().numpy()
            graph = geodesic_graph(points, epsilon_edges(points, epsilon), metric, nodes=nodes)
            rows.append(
                {
                    "count": count,
                    "replicate": replicate,
                    "epsilon": epsilon,
                    "edges": graph.edge_count,
                    "components": graph.component_count,
                    "error": graph.distances([0])[0, 1] / exact - 1,
                }
            )
    return pd.DataFrame(rows)


def node_convergence(
    metric: DensityMetric,
    segments: Float[Tensor, "segment 2 d"],
    *,
    panels: Sequence[int],
    nodes: Sequence[int],
) -> pd.DataFrame:
    """Relative error of the quadrature of the lengths of straight segments, root mean square over them.

    Theory: ``m`` Gauss-Legendre nodes in each of ``k`` panels err as ``k^(-2 m)``, and geometrically in ``m``. The
    error of a single segment changes sign on the way, and is small by chance where it does; the mean square is not.

    Args:
        metric: in which to measure.
        segments: the two ends of each.
        panels: numbers of equal parts of a segment.
        nodes: numbers of nodes in each part.

    Returns:
        A row for each pair of numbers: ``panels``, ``nodes`` and ``error``, relative to 64 panels of 16 nodes.
    """

    def measure(parts: int, count: int) -> Float[np.ndarray, "segment"]:
        share = torch.linspace(0, 1, parts + 1, dtype=segments.dtype, device=segments.device)[:, None]
        return np.array(
            [metric.length(start + share * (end - start), nodes=count) for start, end in segments]
        )

    exact = measure(64, 16)
    rows = []
    for m in nodes:
        for k in panels:
            error = float(np.sqrt(np.mean((measure(k, m) / exact - 1) ** 2)))
            rows.append({"panels": k, "nodes": m, "error": error})
    return pd.DataFrame(rows)


def fitted_slope(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Slope of ``log y`` against ``log x`` by least squares, and its standard error from the scatter.

    Raises:
        ValueError: on fewer than three points, or values that are not positive.
    """
    if len(x) < 3 or not ((x > 0).all() and (y > 0).all() and np.isfinite(y).all()):
        raise ValueError("a slope needs three points or more, all positive and finite")
    design = np.stack([np.log(x), np.ones(len(x))], axis=1)
    solution, rest, *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    variance = float(rest[0]) / (len(x) - 2) if len(rest) else 0.0
    return float(solution[0]), float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))


def compare_draws(
    density: IsotropicMixture,
    metric: DensityMetric,
    ends: Float[Tensor, "2 2"],
    exact: float,
    *,
    box: tuple[tuple[float, float], tuple[float, float]],
    counts: Sequence[int],
    replicates: int,
    factor: float,
    seed: int = 0,
) -> pd.DataFrame:
    """``point_convergence`` for points drawn evenly from a box, and for points drawn from the density.

    Both have the same ``epsilon`` relative to what a point takes up: of the box its area over the number of
    points, of the density the area ``1 / int p^2`` over that number, the mean density of points at a point.

    Returns:
        The rows of ``point_convergence`` with a column ``draw``, ``uniform`` or ``density``.
    """
    low, high = (torch.tensor(values, dtype=ends.dtype) for values in zip(*box, strict=True))

    def uniform(count: int, stream: int) -> Float[Tensor, "n 2"]:
        generator = torch.Generator().manual_seed(stream)
        return low + (high - low) * torch.rand((count, 2), generator=generator, dtype=ends.dtype)

    def drawn(count: int, stream: int) -> Float[Tensor, "n 2"]:
        return density.sample(count, torch.Generator().manual_seed(stream))

    # int p^2 = E[p(x)] over draws of p; 1e5 of them know it to a hundredth.
    mean_density = density.log_prob(drawn(100_000, seed)).exp().mean().item()
    areas = {"uniform": (high - low).prod().item(), "density": 1 / mean_density}
    draws: dict[str, Draw] = {"uniform": uniform, "density": drawn}
    parts = [
        point_convergence(
            metric,
            ends,
            exact,
            draw,
            counts=counts,
            replicates=replicates,
            factor=factor * areas[name] ** (1 / 3),
            seed=seed,
        ).assign(draw=name)
        for name, draw in draws.items()
    ]
    return pd.concat(parts, ignore_index=True)
