"""Studies of one parameter: grids, posteriors, fits, metrics and phases on a line."""

import numpy as np
import pytest

from hessgeo.grids import Frame, Grid, bilinear_weights, parameter_points
from hessgeo.posteriors import choose_resolution, posterior
from hessgeo.systems.slices import LatentSlice, random_anchors

LINE = Grid(((-1.0, 2.0),), (13,))


def test_nodes_of_a_line():
    assert LINE.size == 13
    np.testing.assert_array_equal(LINE.points, np.linspace(-1, 2, 13)[:, None])
    assert LINE.spacing == (0.25,)
    assert LINE.frame == Frame((0.5,), (1.5,))
    np.testing.assert_allclose(LINE.square, [1.0])
    assert LINE.nearest(np.array([[-3.0], [0.12], [0.13], [9.0]])).tolist() == [0, 4, 5, 12]


def test_sides_and_nodes_are_as_many():
    with pytest.raises(ValueError, match="both be of one axis or of two"):
        Grid(((0.0, 1.0), (0.0, 1.0)), (5,))


@pytest.mark.parametrize("design", ["uniform", "sobol"])
def test_points_of_a_line_lie_in_it(design):
    points = parameter_points(design, LINE, 64, seed=3)
    assert points.shape == (64, 1)
    assert (points >= -1).all()
    assert (points <= 2).all()


def test_weights_keep_mass_and_mean():
    points = parameter_points("uniform", LINE, 50, seed=1)
    weights = bilinear_weights(points, LINE)
    assert (weights.getnnz(axis=1) <= 2).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights @ LINE.points, points)


def features(t):
    """On a curve of unit speed in the sphere, so that distances of embeddings are those of parameters, nearly."""
    return np.column_stack([np.cos(t[:, 0]), np.sin(t[:, 0]), np.zeros(len(t))])


def test_a_posterior_along_a_line_is_that_of_its_sums():
    grid = Grid(((0.0, 1.0),), (101,))
    found = posterior(features(grid.points), grid.points, resolution=400.0)
    t = grid.points[:, 0]
    # |E - E'|^2 = 2 - 2 cos(t - t')
    weight = np.exp(-400.0 * (1 - np.cos(t[:, None] - t)))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ t
    # Products and exponentials are float32.
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-5)
    np.testing.assert_allclose(found.covariance[:, 0, 0], weight @ t**2 - mean**2, rtol=1e-3)
    np.testing.assert_allclose(found.marginal, weight.sum(axis=0), rtol=1e-3)
    # Off the edge it is a Gaussian of variance 1 / N.
    assert found.covariance[50, 0, 0] * 400 == pytest.approx(1, rel=0.01)


def test_one_grid_step_is_the_root_of_the_cells_of_a_plane():
    grid = Grid(((0.0, 1.0),), (101,))
    options = {
        "kernel": "gaussian",
        "cells": float(np.sqrt(2 * np.pi * np.e)),
        "quantile": 0.5,
        "sources": 101,
    }
    resolution = choose_resolution(features(grid.points), grid.points, **options, seed=0)
    # A deviation of one step of 0.01; the sum over nodes is an integral to 1e-8, the median source is off the edge.
    assert resolution == pytest.approx(1e4, rel=0.01)


def test_a_slice_of_one_axis_is_the_edge_of_that_of_two():
    anchors = random_anchors(4, (2, 3))
    path = LatentSlice(anchors, LINE.extent, axes=("latent",))
    plane = LatentSlice(anchors, ((-1.0, 2.0), (-1.0, 1.0)))
    on_edge = np.column_stack([LINE.points, np.zeros(13)])
    np.testing.assert_array_equal(path.latents(LINE.points), plane.latents(on_edge))
    with pytest.raises(ValueError, match="must be 1, as sides of the extent"):
        LatentSlice(anchors, LINE.extent)


def test_a_condition_alone_leaves_the_latent():
    anchors = random_anchors(4, (2, 3))
    path = LatentSlice(anchors, ((1.0, 9.0),), normalisation="none", axes=("guidance",))
    t = np.array([[1.0], [4.0]])
    np.testing.assert_array_equal(path.latents(t), np.stack([anchors[0], anchors[0]]))
    np.testing.assert_array_equal(path.conditions(t)["guidance"], [1.0, 4.0])
