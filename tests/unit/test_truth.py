"""Exact fields in all four quadrants of the parameters, against sums over all states."""

import numpy as np
import pytest
import truths

from hessgeo.evaluation.truth import exact_fields
from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.ising import Ising
from hessgeo.systems.solvable.ising_chain import IsingChain
from hessgeo.systems.solvable.isnnn import MIXTURE, IsingNextNearest

# Nodes of both signs on either axis, some their mirror images up to rounding, and zero.
BOX = Grid(((-0.3, 0.45), (-0.2, 0.2)), (4, 5))
SYSTEMS = [
    Ising(3),
    Ising(4),
    Ising(3, coordinates=TEMPERATURE_FIELD),
    IsingNextNearest(3),
    IsingNextNearest(3, coordinates=MIXTURE),
    IsingChain(7),
    CurieWeiss(9),
    CurieWeiss(8, coordinates=TEMPERATURE_FIELD),
]


@pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda s: f"{type(s).__name__} {s.sample_shape[0]} {s.coordinates.names[0]}"
)
def test_fields_are_sums_over_all_states_in_every_quadrant(system):
    positive = {"T": ((0.8, 3.0), (-0.9, 0.9)), "l0": ((-0.4, 1.6), (0.3, 1.2))}
    grid = (
        Grid(positive[system.coordinates.names[0]], (3, 4))
        if system.coordinates.names[0] in positive
        else BOX
    )
    fields = exact_fields(system, grid)
    value, gradient, metric = (fields[name].to_numpy() for name in ("value", "gradient", "metric"))
    jacobian = system.jacobian(grid.points).reshape(*grid.shape, 2, 2)
    for node, natural in zip(np.ndindex(grid.shape), system.natural(grid.points), strict=True):
        log_z, mean, covariance = truths.enumerated(system, natural)
        j = jacobian[node]
        assert value[node] == pytest.approx(log_z, rel=1e-12)
        np.testing.assert_allclose(gradient[node], mean @ j, rtol=1e-10, atol=1e-9)
        np.testing.assert_allclose(metric[node], j.T @ covariance @ j, rtol=1e-9, atol=1e-9)


def test_an_antiferromagnet_is_not_a_ferromagnet():
    # By the transfer matrix of whole rows, which knows no sign: six spins along a side.
    grid = Grid(((-0.3, -0.1), (-0.2, 0.1)), (2, 2))
    gradient = exact_fields(Ising(6), grid)["gradient"].to_numpy()
    np.testing.assert_allclose(gradient[0, 0], [-25.5, -2.55], rtol=3e-3)
    other = IsingNextNearest(6).cumulants(np.array([[-0.3, 0.0]])).mean[0, 0]
    neutral = exact_fields(Ising(6), Grid(((-0.3, -0.1), (0.0, 0.1)), (2, 2)))["gradient"].to_numpy()
    assert neutral[0, 0, 0] == pytest.approx(other, rel=1e-10)


def test_nodes_far_closer_than_their_distance_from_zero_keep_their_own_parameters():
    # A deep zoom: twelve digits of the largest field are no node's own.
    grid = Grid(((0.4, 0.4 + 1e-13), (0.3, 0.3 + 1e-13)), (2, 2))
    gradient = exact_fields(Ising(4), grid)["gradient"].to_numpy()
    metric = exact_fields(Ising(4), grid)["metric"].to_numpy()[0, 0]
    rise = gradient[1, 1] - gradient[0, 0]
    # A rise of 1e-12 in numbers of 30, whose last digit is 4e-15.
    np.testing.assert_allclose(rise, metric.sum(axis=1) * 1e-13, rtol=0.2, atol=2e-14)


def test_a_box_about_zero_field_solves_half_of_its_nodes(monkeypatch):
    asked = []
    monkeypatch.setattr(
        Ising, "cumulants", lambda self, t, solve=Ising.cumulants: asked.append(len(t)) or solve(self, t)
    )
    exact_fields(Ising(4), Grid(((-0.2, 0.2), (-0.3, 0.3)), (5, 7)))
    assert asked == [5 * 4]
