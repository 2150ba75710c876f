"""Leading eigenvalues of the transfer matrix against its trace, Kaufman's solution, and each other."""

import numpy as np
import pytest

from hessgeo.systems.solvable import ising_spectrum
from hessgeo.systems.solvable.ising import CRITICAL_COUPLING, Ising
from hessgeo.systems.solvable.ising_spectrum import leading_partition
from hessgeo.systems.solvable.kaufman import kaufman

# High and low temperature, the critical point, the ordered line where two eigenvalues coincide, free spins.
POINTS = np.array(
    [[0.2, 0.1], [CRITICAL_COUPLING, 0.0], [0.44, 0.05], [0.7, 0.0], [1.0, 0.3], [0.0, 0.2], [0.3, -0.2]]
)


@pytest.mark.parametrize("side", [4, 7, 8, 10])
def test_leading_eigenvalues_sum_to_the_trace(side):
    exact, found = Ising(side).cumulants(POINTS), leading_partition(POINTS, width=side, rows=side)
    # Left out is what the bound says at most, besides rounding; nothing is added.
    missing = exact.log_partition - found.log_partition
    assert (found.remainder <= 1e-7).all()
    assert (missing <= found.remainder + 1e-12 * exact.log_partition).all()
    assert (missing >= -1e-12 * exact.log_partition).all()
    # A state is left out, or turned, by up to the root of the tolerance on its eigenvalue: 1e-7 side^2 at most.
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-7 * side**2)


def test_a_looser_tolerance_leaves_more_out_and_still_bounds_it():
    point = POINTS[1:3]
    exact = Ising(10).log_partition(point)
    for tolerance in (1e-2, 1e-4, 1e-6):
        found = leading_partition(point, width=10, rows=10, tolerance=tolerance)
        assert (exact - found.log_partition <= found.remainder).all()
        assert (found.remainder <= tolerance).all()


def test_rows_need_not_be_as_many_as_columns():
    log_z, mean, _ = kaufman(np.array([0.4]), width=8, height=12)
    for width, rows in ((8, 12), (12, 8)):
        found = leading_partition(np.array([[0.4, 0.0]]), width=width, rows=rows)
        np.testing.assert_allclose(found.log_partition, log_z, rtol=0, atol=1e-7)
        np.testing.assert_allclose(found.mean[:, 0], mean, rtol=1e-6)


def test_side_16_is_that_of_kaufman_and_even_in_the_field():
    lattice = Ising(16)
    couplings = np.array([CRITICAL_COUPLING])
    log_z, mean, _ = kaufman(couplings, width=16, height=16)
    found, slope = lattice.log_partition_and_mean(np.array([[CRITICAL_COUPLING, 0.0]]))
    # The tolerance on Z, and its like for the mean of 512 bonds.
    np.testing.assert_allclose(found, log_z, rtol=0, atol=1e-7)
    np.testing.assert_allclose(slope, np.stack([mean, np.zeros(1)], axis=1), rtol=0, atol=5e-5)
    up, down = (lattice.log_partition_and_mean(np.array([[0.42, h]])) for h in (0.1, -0.1))
    assert up[0] == pytest.approx(down[0], rel=1e-12)
    np.testing.assert_allclose(up[1], down[1] * [1, -1], rtol=1e-7)


def test_the_mean_is_the_gradient_of_log_z():
    step, point = 1e-4, np.array([0.42, 0.03])
    shifted = point + step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    found = leading_partition(np.vstack([point, shifted]), width=12, rows=12, tolerance=1e-10)
    log_z = found.log_partition[1:]
    slope = (log_z[::2] - log_z[1::2]) / (2 * step)
    # A sixth of step^2 times a third derivative, up to 144^2, and the rounding of log Z over the step.
    np.testing.assert_allclose(found.mean[0], slope, atol=1e-3)


def test_the_systems_method_takes_the_cheaper_way():
    for side in (6, 12):
        points = np.array([[0.3, 0.1], [0.5, -0.2]])
        log_z, mean = Ising(side).log_partition_and_mean(points)
        found = leading_partition(points, width=side, rows=side)
        np.testing.assert_allclose(log_z, found.log_partition, atol=1e-7)
        np.testing.assert_allclose(mean, found.mean, atol=1e-5)
    negative = np.array([[-0.3, 0.1]])
    np.testing.assert_allclose(Ising(6).log_partition_and_mean(negative)[0], Ising(6).log_partition(negative))


def test_what_cannot_be_solved_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="side is 19, must be at most 18"):
        Ising(19).log_partition_and_mean(POINTS)
    with pytest.raises(ValueError, match=r"K is -0\.3, must not be negative"):
        leading_partition(np.array([[-0.3, 0.1]]), width=6, rows=6)
    monkeypatch.setattr(ising_spectrum, "LARGEST_BASIS", 16)
    with pytest.raises(ArithmeticError, match=r"leave .* of Z out"):
        leading_partition(POINTS[1:2], width=10, rows=10)
