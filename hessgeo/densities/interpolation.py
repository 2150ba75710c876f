"""Paths between data points: straight, over a graph of data, and refined to a geodesic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from torch import Tensor

from hessgeo.densities.base import Density
from hessgeo.geodesics.chains import refine, resample, straight_path
from hessgeo.geodesics.graphs import MetricGraph
from hessgeo.metrics.conformal import DensityMetric


@dataclass(frozen=True)
class Interpolation:
    """Three paths between two data points.

    Attributes:
        straight: the line, at equal Euclidean distances.
        graph: the shortest path over data points, resampled at equal distances in the metric.
        geodesic: that path refined, at equal distances in the metric.
        vertices: number of data points on the graph path, ends included.
        lengths: of the three in the metric, the second before it is resampled.
        converged: whether the refinement did.
    """

    straight: Float[Tensor, "n d"]
    graph: Float[Tensor, "n d"]
    geodesic: Float[Tensor, "n d"]
    vertices: int
    lengths: tuple[float, float, float]
    converged: bool


def interpolate(
    graph: MetricGraph,
    metric: DensityMetric,
    source: int,
    target: int,
    *,
    count: int = 9,
    refined: int = 33,
    tolerance: float = 1e-6,
    max_iterations: int = 300,
) -> Interpolation:
    """Join two nodes of a graph by a line, by a shortest path, and by a geodesic.

    The refinement starts from the shortest path and from the line, and keeps the shorter result.

    Args:
        graph: of data points, weighed in ``metric``.
        metric: in which to shorten.
        source: one node.
        target: another.
        count: points of each path that is returned.
        refined: points while the path is refined.
        tolerance: of the refinement.
        max_iterations: of the refinement.

    Raises:
        ValueError: if no path joins the nodes.
    """
    (vertices,) = graph.paths(source, [target])
    chain = torch.from_numpy(graph.points[vertices])
    found = refine(chain, metric, count=refined, tolerance=tolerance, max_iterations=max_iterations)
    return Interpolation(
        straight=straight_path(chain[0], chain[-1], count),
        graph=resample(chain, metric, count),
        geodesic=resample(found.points, metric, count),
        vertices=len(vertices),
        lengths=(
            metric.length(straight_path(chain[0], chain[-1], refined)),
            found.start_length,
            found.length,
        ),
        converged=found.converged,
    )


class PrincipalSpace:
    """Coordinates of images along their principal components, and images from coordinates.

    Args:
        images: flat, on any scale.
        dimension: number of components.

    Attributes:
        explained: share of the variance that the coordinates keep.
    """

    def __init__(self, images: Float[np.ndarray, "n pixels"], dimension: int) -> None:
        # The full decomposition: no random numbers.
        self._model = PCA(dimension, svd_solver="full").fit(images)
        self.dimension = dimension
        self.explained = float(self._model.explained_variance_ratio_.sum())

    def encode(self, images: Float[np.ndarray, "n pixels"]) -> Float[Tensor, "n d"]:
        """Coordinates of images."""
        return torch.from_numpy(self._model.transform(images))

    def decode(self, coordinates: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch pixels"]:
        """Images from coordinates; what no component sees is that of the mean image."""
        components = torch.from_numpy(self._model.components_).to(coordinates)
        return coordinates @ components + torch.from_numpy(self._model.mean_).to(coordinates)


def path_log_prob(density: Density, path: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Mean and least ``log p`` of the inner points of a path, in nats: the ends are the same for all."""
    with torch.no_grad():
        values = density.log_prob(path[1:-1])
    return values.mean().item(), values.min().item()
