"""From the slopes of a fit to the metric beside the Fisher metric, and verdicts on what is made of it."""

import numpy as np
import pytest
import torch
import xarray as xr

from hessgeo.figures import path_tables
from hessgeo.free_energies.base import FreeEnergy, free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.pipeline.metric_chain import response_fields

GRID = Grid(((0.0, 2.0), (-3.0, 3.0)), (9, 7))
HESSIAN = np.array([[2.0, 0.3], [0.3, 0.5]])


class Quadratic(FreeEnergy):
    """``t' A t / 2``, with slopes at the nodes that turn beside."""

    resolution = 10.0

    def __init__(self, turned, certificate=None):
        turn = np.array([[0.0, -turned], [turned, 0.0]])
        self.sources = GRID.points
        self.slopes = GRID.points @ (HESSIAN + turn).T
        self.certificate = {"converged": True, **(certificate or {})}

    def value(self, t):
        return torch.einsum("...i,ij,...j->...", t, torch.from_numpy(HESSIAN), t) / 2

    def gradient(self, t):
        return t @ torch.from_numpy(HESSIAN)

    def hessian(self, t):
        return torch.from_numpy(HESSIAN).expand(*t.shape, 2)

    def third(self, t):
        return torch.zeros(*t.shape, 2, 2, dtype=t.dtype)


def dataset(turned, **certificate):
    fit = Quadratic(turned, certificate)
    return free_energy_dataset(fit, GRID, attributes={"verdict": fit.verdict})


def test_slopes_of_a_gradient_respond_as_the_fisher_metric():
    fields, numbers = response_fields(dataset(0.0), GRID)
    np.testing.assert_allclose(fields["response_metric"], np.broadcast_to(HESSIAN, (9, 7, 2, 2)), atol=1e-10)
    assert fields["response_difference"].max() < 1e-10
    assert max(abs(number) for number in numbers.values()) < 1e-10


def test_what_turns_is_measured_in_box_units():
    fields, numbers = response_fields(dataset(0.4), GRID)
    half = np.array([1.0, 3.0])
    share = np.sqrt(2) * 0.4 * 3.0 / np.linalg.norm(HESSIAN * np.outer(half, half))
    np.testing.assert_allclose(fields["antisymmetric_share"], share, rtol=1e-9)
    assert numbers["antisymmetric_share"] == pytest.approx(share)
    np.testing.assert_allclose(
        fields["response_difference"], 0, atol=1e-9
    )  # the symmetric part is the Hessian
    # eta - grad F is the rotation of t, of which the slopes have their own size.
    turned = (GRID.points @ np.array([[0.0, 0.4], [-0.4, 0.0]])) * half
    slopes = Quadratic(0.4).slopes * half
    expected = np.sqrt((turned**2).sum(1).mean() / ((slopes - slopes.mean(0)) ** 2).sum(1).mean())
    assert numbers["slope_mismatch"] == pytest.approx(expected, rel=1e-9)


def test_of_few_nodes_nothing_is_said_and_a_known_response_is_taken():
    narrow = Grid(GRID.extent, (4, 7))
    given = xr.Dataset({"fisher_metric": (("a", "b", "i", "j"), np.ones((4, 7, 2, 2)))})
    fields, numbers = response_fields(given, narrow)
    assert numbers == {}
    assert all(np.isnan(field).all() for field in fields.values())
    turned = np.broadcast_to(HESSIAN + np.array([[0.0, -0.4], [0.4, 0.0]]), (9, 7, 2, 2))
    fields, numbers = response_fields(dataset(0.0).assign(response=(("a", "b", "i", "j"), turned)), GRID)
    same, expected = response_fields(dataset(0.4), GRID)
    assert numbers["antisymmetric_share"] == pytest.approx(expected["antisymmetric_share"])
    for name, field in fields.items():
        np.testing.assert_allclose(field, same[name], atol=1e-9)


def test_a_potential_that_has_not_converged_is_no_verdict_of_trust():
    assert dataset(0.0).attrs["verdict"] == "resolved"
    assert "potential" in dataset(0.0, potential_converged=False).attrs["verdict"]
    assert "potential" not in dataset(0.0, potential_converged=True).attrs["verdict"]


def test_a_table_of_paths_says_which_fit_is_not_resolved():
    settings = {name: {"confidence": 0.95} for name in ("digits", "faces")}
    names = dict.fromkeys(settings, "CLIP")
    marked = path_tables.caption(
        "table2_turning", settings, names, {"digits": "resolved", "faces": "posteriors are narrow"}
    )
    assert marked.startswith("NOT RESOLVED: faces: posteriors are narrow. ")
    assert "digits:" not in marked
    plain = path_tables.caption("table2_turning", settings, names, dict.fromkeys(settings, "resolved"))
    assert marked.endswith(plain)
    assert "RESOLVED" not in plain
