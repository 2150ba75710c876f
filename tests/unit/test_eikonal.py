"""First arrivals of a front: closed forms, the rate of the error, what a front may not depend on."""

import numpy as np
import pytest

from hessgeo.numerics.eikonal import distances, medium
from hessgeo.numerics.eikonal_paths import around, arrival, way


def nodes(side, n):
    axis = np.linspace(*side, n)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1), axis[1] - axis[0]


def half_plane(x):
    return x[..., 1, None, None] ** -2 * np.eye(2)


def half_plane_distance(x, y):
    return 2 * np.arcsinh(np.linalg.norm(x - y, axis=-1) / (2 * np.sqrt(x[..., 1] * y[..., 1])))


def sphere(x):
    """In stereographic coordinates."""
    return 4 * np.eye(2) / (1 + (x**2).sum(axis=-1))[..., None, None] ** 2


def sphere_distance(x, y):
    far = np.linalg.norm(x - y, axis=-1)
    return 2 * np.arcsin(far / np.sqrt((1 + (x**2).sum(-1)) * (1 + (y**2).sum(-1))))


def sheared(x, strength=10.0):
    """Flat, of ratio ``strength`` in ``(a, b + .15 sin 2a)``, so that its directions turn from place to place."""
    jacobian = np.zeros((*x.shape[:-1], 2, 2))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1
    jacobian[..., 1, 0] = 0.3 * np.cos(2 * x[..., 0])
    return np.einsum("...ki,kl,...lj->...ij", jacobian, np.diag([1, strength]), jacobian)


def sheared_distance(x, y):
    flat = [
        np.stack([z[..., 0], np.sqrt(10) * (z[..., 1] + 0.15 * np.sin(2 * z[..., 0]))], -1) for z in (x, y)
    ]
    return np.linalg.norm(flat[0] - flat[1], axis=-1)


def turned(ratio, angle=0.4):
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([1.0, ratio]) @ turn.T


@pytest.mark.parametrize(("ratio", "worst"), [(1, 1e-3), (100, 5e-3), (1e4, 2e-2)])
def test_constant_metric_is_exact_but_for_the_edge_of_the_grid(ratio, worst):
    # In the inside the cone's curvature is taken out: what is left comes from nodes whose neighbours are missing.
    matrix, source = turned(ratio), np.array([9.3, 14.6])
    x = np.stack(np.meshgrid(np.arange(31), np.arange(31), indexing="ij"), axis=-1) - source
    exact = np.sqrt(np.einsum("...i,ij,...j->...", x, matrix, x))
    found = distances(medium(np.broadcast_to(matrix, (31, 31, 2, 2))), source)
    assert np.abs(found - exact).max() <= worst * exact.max()
    assert np.median(np.abs(found - exact)) <= worst / 10 * exact.max()


@pytest.mark.parametrize(
    ("metric", "distance", "side", "source"),
    [
        (half_plane, half_plane_distance, (0.5, 2.5), (1.43, 1.21)),
        (sphere, sphere_distance, (-0.6, 0.6), (0.21, -0.13)),
        (sheared, sheared_distance, (-0.5, 0.5), (0.11, -0.17)),
    ],
)
def test_error_is_of_first_order(metric, distance, side, source):
    errors = []
    for n in (15, 29, 57):
        x, step = nodes(side, n)
        found = distances(medium(metric(x) * step**2), (np.array(source) - side[0]) / step)
        exact = distance(x, np.array(source))
        # Ways to nodes at the edge may leave the box, where there is no front.
        inner = (slice(n // 5, -(n // 5)),) * 2
        errors.append(np.abs(found - exact)[inner].mean() / exact[inner].mean())
    assert errors[1] < 0.01
    assert errors[0] / errors[2] > 2.6  # 4 for the first order, less what is not asymptotic yet


@pytest.mark.parametrize(("height", "worst"), [(30.0, 0.02), (-0.9, 0.01)])
def test_front_bends_as_the_metric_does_that_it_has_come_to(height, worst):
    # A source on a hill, or in a hole: the cone in its own matrix is far from the front elsewhere.
    x, step = nodes((-0.5, 0.5), 41)
    source = np.array([0.013, -0.021])
    far, r = np.linalg.norm(x - source, axis=-1), np.linspace(0, 0.8, 8001)
    cost = 1 + height * np.exp(-(((r[1:] + r[:-1]) / 0.16) ** 2))
    exact = np.interp(far, r, np.concatenate([[0.0], np.cumsum(cost * np.diff(r))]))
    matrix = ((1 + height * np.exp(-((far / 0.08) ** 2))) * step) ** 2
    found = distances(medium(matrix[..., None, None] * np.eye(2)), (source + 0.5) / step)
    assert np.abs(found - exact).mean() < worst * exact.mean()


def test_front_does_not_know_the_axes_and_units():
    x, step = nodes((-0.5, 0.5), 21)
    matrix, source = sheared(x, 50.0) * step**2, np.array([6.3, 12.8])
    found = distances(medium(matrix), source)
    swapped = distances(medium(matrix.swapaxes(0, 1)[..., ::-1, ::-1]), source[::-1])
    np.testing.assert_allclose(swapped.T, found, rtol=1e-10)
    np.testing.assert_allclose(distances(medium(1e8 * matrix), source), 1e4 * found, rtol=1e-10)


def test_front_goes_through_the_gap_of_a_wall():
    matrix = np.broadcast_to(np.eye(2), (21, 21, 2, 2)).copy()
    matrix[10, :] = np.nan
    matrix[10, 17] = np.eye(2)
    field, source, end = medium(matrix), np.array([4.0, 4.0]), np.array([16.0, 4.0])
    found = distances(field, source)
    gap = 2 * np.hypot(6, 13)
    assert arrival(field, found, source, end) == pytest.approx(gap, rel=0.03)
    path = way(field, found, source, end)
    assert np.abs(path[np.abs(path[:, 0] - 10).argmin(), 1] - 17) <= 2
    matrix[10, 17] = np.nan
    assert np.isinf(distances(medium(matrix), source)[16, 4])


def test_stopped_front_gives_the_same_arrival_and_way():
    x, step = nodes((0.5, 2.5), 31)
    field, rng = medium(half_plane(x) * step**2), np.random.default_rng(0)
    for _ in range(4):
        source, end = rng.uniform(3, 27, (2, 2))
        whole = distances(field, source)
        part = distances(field, source, until=around(field, end))
        assert np.isinf(part).any()
        assert arrival(field, part, source, end) == arrival(field, whole, source, end)
        exact = half_plane_distance(0.5 + source * step, 0.5 + end * step)
        assert arrival(field, part, source, end) == pytest.approx(exact, rel=0.03)
        path = 0.5 + way(field, part, source, end) * step
        np.testing.assert_allclose(path[[0, -1]], 0.5 + np.stack([source, end]) * step, rtol=1e-12)
        middle, steps = (path[1:] + path[:-1]) / 2, np.diff(path, axis=0)
        length = (np.linalg.norm(steps, axis=1) / middle[:, 1]).sum()
        assert (1 - 1e-3) * exact < length < 1.03 * exact  # of a curve that exists, by midpoints


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="not allowed; allowed"):
        medium(np.eye(2))
    with pytest.raises(ValueError, match="at no node"):
        medium(np.broadcast_to(-np.eye(2), (3, 3, 2, 2)))
    with pytest.raises(ValueError, match="outside the grid of 3 x 3"):
        distances(medium(np.broadcast_to(np.eye(2), (3, 3, 2, 2))), np.array([2.5, 0.0]))
