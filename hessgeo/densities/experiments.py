"""The experiments of Kim et al. (2024) on densities of the plane, each as one dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.spatial.distance import cdist
from torch import Tensor

from hessgeo.densities.base import Density
from hessgeo.densities.boundary_value import solve_geodesic
from hessgeo.densities.clustering import density_graph, finite
from hessgeo.densities.toys import ToySet
from hessgeo.geodesics.chains import refine, resample
from hessgeo.geodesics.graphs import connecting_radius, epsilon_edges, geodesic_graph
from hessgeo.metrics.conformal import DensityMetric

Box = tuple[tuple[float, float], tuple[float, float]]


def gridded(density: Density, box: Box, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Node coordinates along both axes, and ``log p`` at the nodes, (x, y)."""
    axes = [np.linspace(low, high, nodes) for low, high in box]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    with torch.no_grad():
        return axes[0], axes[1], density.log_prob(torch.from_numpy(points)).numpy()


def lattice(box: Box, spacing: float) -> Float[Tensor, "n 2"]:
    """Nodes of a square lattice that fills a box, at most ``spacing`` apart."""
    axes = [np.linspace(low, high, math.ceil((high - low) / spacing) + 1) for low, high in box]
    return torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2))


def reference_geodesic(
    metric: DensityMetric, ends: Float[Tensor, "2 2"], box: Box, *, spacing: float = 0.05, count: int = 65
) -> tuple[Float[Tensor, "n 2"], float, float]:
    """The shortest path between two points of the plane, solved to high accuracy.

    A shortest path on a lattice whose nodes are joined to all others within five spacings finds the right
    road, the refinement smooths it, and the geodesic equation gives the length.

    Args:
        metric: of the plane.
        ends: of the path.
        box: that holds it.
        spacing: of the lattice.
        count: points of the path that is returned.

    Returns:
        The path at equal distances in the metric, its length, and the residual of the geodesic equation.

    Raises:
        ArithmeticError: if the equation is not solved to a relative residual of 1e-8, or leads to a longer path.
    """
    nodes = torch.cat([ends, lattice(box, spacing)]).numpy()
    graph = geodesic_graph(nodes, epsilon_edges(nodes, 5 * spacing), metric)
    (found,) = graph.paths(0, [1])
    refined = refine(torch.from_numpy(nodes[found]), metric, count=count)
    flat = DensityMetric(metric.log_density, log_p0=0.0, log_lam=math.inf)
    # Every other point: neighbours at one place would be a mesh that does not rise.
    solved = solve_geodesic(metric, resample(refined.points, flat, count))
    if not solved.converged or solved.length > refined.length * (1 + 1e-8):
        raise ArithmeticError(
            f"the geodesic equation ended at length {solved.length:g}, residual {solved.residual:g}, where a path "
            f"of length {refined.length:g} is known"
        )
    return resample(torch.from_numpy(solved.points), metric, count), solved.length, solved.residual


def lambda_sweep(
    density: Density,
    ends: Float[Tensor, "2 2"],
    lams: Sequence[float],
    *,
    p0: float,
    box: Box,
    spacing: float = 0.05,
    nodes: int = 128,
) -> xr.Dataset:
    """Shortest paths between two points for several ``lam`` (Kim et al., Fig. 2).

    Returns:
        ``path (lam, point, axis)``, and by ``lam`` its ``length`` in the metric, ``straight_length`` of the line,
        ``euclidean_length`` of the path, ``mean_log_density`` along it (by Euclidean length), and the ``residual`` of
        the geodesic equation; ``log_density (x, y)``.
    """
    columns: dict[str, list[float]] = {
        name: [] for name in ("length", "straight_length", "euclidean_length", "residual", "mean_log_density")
    }
    paths = []
    for lam in lams:
        metric = density.metric(log_p0=math.log(p0), log_lam=math.log(lam))
        path, length, residual = reference_geodesic(metric, ends, box, spacing=spacing)
        paths.append(path.numpy())
        steps = (path[1:] - path[:-1]).norm(dim=1)
        columns["length"].append(length)
        columns["straight_length"].append(metric.length(ends, nodes=64))
        columns["euclidean_length"].append(steps.sum().item())
        columns["residual"].append(residual)
        middle = density.log_prob((path[1:] + path[:-1]) / 2)
        columns["mean_log_density"].append(((middle * steps).sum() / steps.sum()).item())
    x, y, log_density = gridded(density, box, nodes)
    fields = {name: ("lam", np.array(values)) for name, values in columns.items()}
    return xr.Dataset(
        {
            "path": (("lam", "point", "axis"), np.stack(paths)),
            "log_density": (("x", "y"), log_density),
            **fields,
        },
        coords={"lam": list(lams), "x": x, "y": y},
        attrs={"p0": p0},
    )


def epsilon_graphs(toy: ToySet, factors: Sequence[float]) -> xr.Dataset:
    """Epsilon-graphs of the same points for several ``epsilon`` (Kim et al., Fig. 3).

    Args:
        toy: the points.
        factors: each ``epsilon`` over the least one that connects all points.

    Returns:
        ``points (node, axis)``, ``component (graph, node)``, ``edge (m, end)`` with the ``edge_graph (m)`` each
        belongs to, and by graph ``epsilon``, ``edges``, ``components`` and ``unreachable_pairs``.
    """
    points = toy.points.numpy()
    least = connecting_radius(points)
    euclidean = toy.density.metric(log_p0=0.0, log_lam=math.inf)
    graphs = [geodesic_graph(points, epsilon_edges(points, factor * least), euclidean) for factor in factors]
    edges = [graph.edges for graph in graphs]
    return xr.Dataset(
        {
            "points": (("node", "axis"), points),
            "component": (("graph", "node"), np.stack([graph.components for graph in graphs])),
            "edge": (("m", "end"), np.concatenate(edges)),
            "edge_graph": ("m", np.repeat(np.arange(len(graphs)), [len(part) for part in edges])),
            "factor": ("graph", np.array(factors, dtype=float)),
            "epsilon": ("graph", least * np.array(factors, dtype=float)),
            "edges": ("graph", np.array([graph.edge_count for graph in graphs])),
            "components": ("graph", np.array([graph.component_count for graph in graphs])),
            "unreachable_pairs": ("graph", np.array([graph.unreachable_pairs for graph in graphs])),
        },
        attrs={"connecting_radius": least},
    )


def affinity_maps(
    toys: Mapping[str, ToySet],
    *,
    quantile: float,
    radius: float = 1.5,
    nodes: int = 96,
) -> xr.Dataset:
    """Affinity of all points to one, by Euclidean and by geodesic distance (Kim et al., Fig. 5).

    The affinity is ``exp(-d / median d)``, with the median over all points: the same share of points is bright in
    both. The metric is that of the density that the points were drawn from.

    Args:
        toys: sets of equally many points, by name.
        quantile: of ``p`` over the data that becomes ``lam``.
        radius: ``epsilon`` over the connecting radius.
        nodes: of the picture of the density along each axis.

    Returns:
        On dim ``toy``: ``points``, ``label``, the index of the ``source`` (of all points of the first cluster
        the one of greatest density), ``euclidean`` and ``geodesic`` affinity, ``log_density (x, y)`` with its
        axes, and two numbers on each kind of affinity: the share of pairs of a point of the source's cluster
        and a point of another that it orders rightly (area under the ROC curve).
    """
    columns: dict[str, list] = {name: [] for name in (
        "points", "label", "source", "euclidean", "geodesic", "log_density", "x", "y", "euclidean_auc", "geodesic_auc",
    )}  # fmt: skip
    for toy in toys.values():
        density = toy.density
        points = toy.points.numpy()
        with torch.no_grad():
            log_p = density.log_prob(toy.points).numpy()
        source = int(np.where(toy.labels == 0, log_p, -np.inf).argmax())
        graph = density_graph(toy.points, density, quantile=quantile, radius=radius)
        distances = {
            "euclidean": cdist(points[[source]], points)[0],
            "geodesic": finite(graph.distances([source]))[0][0],
        }
        for name, distance in distances.items():
            columns[name].append(np.exp(-distance / np.median(distance)))
            columns[f"{name}_auc"].append(_ordering(distance, toy.labels == toy.labels[source]))
        low, high = points.min(axis=0) - 0.2, points.max(axis=0) + 0.2
        half, centre = (high - low).max() / 2, (high + low) / 2
        square = [(float(c - half), float(c + half)) for c in centre]
        x, y, picture = gridded(density, (square[0], square[1]), nodes)
        for name, value in (("points", points), ("label", toy.labels), ("source", source)):
            columns[name].append(value)
        for name, value in (("log_density", picture), ("x", x), ("y", y)):
            columns[name].append(value)
    dims = {
        "points": ("node", "axis"), "label": ("node",), "euclidean": ("node",), "geodesic": ("node",),
        "log_density": ("i", "j"), "x": ("i",), "y": ("j",),
    }  # fmt: skip
    fields = {name: (("toy", *dims.get(name, ())), np.stack(values)) for name, values in columns.items()}
    return xr.Dataset(fields, coords={"toy": list(toys)})


def _ordering(distance: np.ndarray, own: np.ndarray) -> float:
    """Share of pairs (own, other) of which the own is the nearer one; ties count half."""
    near, far = np.sort(distance[own]), distance[~own]
    below = np.searchsorted(near, far, side="left")
    equal = np.searchsorted(near, far, side="right") - below
    return float((below + equal / 2).mean() / len(near))
