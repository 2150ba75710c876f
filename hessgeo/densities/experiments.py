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
from hessgeo.densities.clustering import density_graph, finite
from hessgeo.densities.toys import ToySet
from hessgeo.geodesics import geodesics
from hessgeo.geodesics.graphs import connecting_radius, epsilon_edges, geodesic_graph
from hessgeo.grids import Extent, Grid
from hessgeo.metrics.conformal import DensityMetric

_POINTS = 129  # of a reference geodesic: of sixth order, it misses the equation by less than 1e-8 rad


def gridded(density: Density, grid: Grid) -> Float[np.ndarray, "x y"]:
    """``log p`` at the nodes of a grid."""
    with torch.no_grad():
        return density.log_prob(torch.from_numpy(grid.points)).numpy().reshape(grid.shape)


def reference_geodesic(
    metric: DensityMetric, ends: Float[Tensor, "2 2"], box: Extent, *, spacing: float = 0.05, count: int = 65
) -> tuple[Float[Tensor, "n 2"], float, float]:
    """The shortest path between two points of the plane, solved to high accuracy.

    A shortest path on a grid finds the right road, and Newton's method the geodesic, see ``geodesics``.

    Args:
        metric: of the plane.
        ends: of the path.
        box: that holds it.
        spacing: of the grid along the longer side of the box, at most.
        count: points of the path that is returned.

    Returns:
        The path at equal distances in the metric, its length, and the residual of the geodesic equation in radians.

    Raises:
        ArithmeticError: if the geodesic is not certified.
    """
    nodes = math.ceil(max(high - low for low, high in box) / spacing) + 1
    found = geodesics(metric, ends[:1], ends[1:], points=_POINTS, box=box, grid_nodes=nodes)
    if found.reasons()[0] is not None:
        raise ArithmeticError(
            f"the geodesic from {ends[0].tolist()} to {ends[1].tolist()}: {found.reasons()[0]}"
        )
    return found.equidistant(count)[0], found.length.item(), found.residual.item()


def lambda_sweep(
    density: Density,
    ends: Float[Tensor, "2 2"],
    lams: Sequence[float],
    *,
    p0: float,
    box: Extent,
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
    grid = Grid(box, (nodes, nodes))
    fields = {name: ("lam", np.array(values)) for name, values in columns.items()}
    return xr.Dataset(
        {
            "path": (("lam", "point", "axis"), np.stack(paths)),
            "log_density": (("x", "y"), gridded(density, grid)),
            **fields,
        },
        coords={"lam": list(lams), **dict(zip("xy", grid.axes, strict=True))},
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
        (x0, x1), (y0, y1) = ((float(c - half), float(c + half)) for c in centre)
        square = Grid(((x0, x1), (y0, y1)), (nodes, nodes))
        for name, value in (("points", points), ("label", toy.labels), ("source", source)):
            columns[name].append(value)
        for name, value in (("log_density", gridded(density, square)), *zip("xy", square.axes, strict=True)):
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
