"""The choice of the resolution number against its rule and against the Gaussian posterior in closed form."""

import numpy as np
import pytest
from scipy.optimize import brentq

from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid
from hessgeo.posteriors import choose_resolution, posterior
from hessgeo.posteriors.widths import NARROW

GRID = Grid(((0.0, 1.0), (0.0, 1.0)), (33, 33))
RULE = {"kernel": "gaussian", "cells": 40.0, "quantile": 0.25, "sources": 2000, "seed": 0}


def curved(n=600, seed=0):
    """An embedding whose resolution varies over the box, with some scatter."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(size=(n, 2))
    embedding = np.cos(t**2 @ rng.normal(size=(2, 8)) * 2 + rng.uniform(0, 6, 8))
    embedding += 0.01 * rng.normal(size=(n, 8))
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32), t


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_number_is_the_largest_that_keeps_the_rule(kernel, share):
    embedding, t = curved()
    rule = {**RULE, "kernel": kernel, "quantile": share}
    number = choose_resolution(embedding, t, **rule)

    def reached(resolution):
        return np.quantile(
            posterior(embedding, t, kernel=kernel, resolution=resolution).effective_cells, share
        )

    # Held from below to 1e-4 in N; the posterior's own entropy is float32.
    assert reached(number) == pytest.approx(40, rel=1e-3)
    assert reached(number * 1.01) < 40 < reached(number / 1.01)


def test_a_linear_embedding_gets_the_number_of_the_gaussian_formula():
    # Far from the edge c = 2 pi e det(N A^T A)^(-1/2) / h^2, the same for all sources, and less near the edge: the
    # quantile 0.9 falls among the former. The sum over nodes differs from the integral by less than 1e-6.
    a = np.array([[0.5, 0.1], [0.2, 0.4]])
    number = choose_resolution((GRID.points @ a).astype(np.float32), GRID.points, **{**RULE, "quantile": 0.9})
    h = GRID.spacing[0]
    exact = 2 * np.pi * np.e / (40.0 * h**2 * np.abs(np.linalg.det(a)))
    # 0.9: the interior, where all sources agree. The sum over nodes differs from the integral by less than
    # 1e-6.
    assert number == pytest.approx(exact, rel=1e-3)


def test_it_scales_with_the_inverse_square_of_distances():
    embedding, t = curved()
    one, half = choose_resolution(embedding, t, **RULE), choose_resolution(embedding / 2, t, **RULE)
    assert half / one == pytest.approx(4, rel=3e-4)  # each is found to 1e-4


def test_it_falls_with_the_cells_and_rises_with_the_quantile():
    embedding, t = curved()
    by_cells = [choose_resolution(embedding, t, **{**RULE, "cells": cells}) for cells in (10.0, 40.0, 160.0)]
    by_quantile = [choose_resolution(embedding, t, **{**RULE, "quantile": q}) for q in (0.0, 0.5, 1.0)]
    assert by_cells[0] > by_cells[1] > by_cells[2]
    assert by_quantile[0] < by_quantile[1] < by_quantile[2]


def test_a_subset_of_sources_is_seeded_and_comes_near_all():
    embedding, t = curved()
    subset = {**RULE, "sources": 150}
    one = choose_resolution(embedding, t, **subset)
    assert one == choose_resolution(embedding, t, **subset)
    assert one != choose_resolution(embedding, t, **{**subset, "seed": 1})
    # A quantile of 150 of 600 sources has a standard error of three hundredths of the distribution.
    assert one == pytest.approx(choose_resolution(embedding, t, **RULE), rel=0.25)


def test_equal_embeddings_leave_nothing_to_choose():
    embedding, t = curved(100)
    with pytest.raises(ValueError, match=r"cells=40.0.*still reached"):
        choose_resolution(np.zeros_like(embedding), t, **RULE)


def test_cells_beyond_the_flattest_posterior_are_out_of_reach():
    embedding, t = curved(100)
    with pytest.raises(ValueError, match=r"cells=99.99999.*not reached"):
        choose_resolution(embedding * 1e3, t, **{**RULE, "cells": 99.99999, "quantile": 0.0})


@pytest.mark.parametrize(
    ("name", "value"), [("cells", 1.0), ("cells", 100.0), ("quantile", 1.5), ("sources", 0), ("kernel",
    "cauchy")]
)  # fmt: skip
def test_bad_input_is_named(name, value):
    embedding, t = curved(100)
    with pytest.raises(ValueError, match=name):
        choose_resolution(embedding, t, **{**RULE, name: value})
    with pytest.raises(ValueError, match=r"t must be finite of shape \(100, 2\), or 1, not \(60, 2\)"):
        choose_resolution(embedding, t[:60], **RULE)


def steep(grid):
    """Flat along ``b``, so that a posterior may spread over many nodes and lie between two along ``a``."""
    return grid.points * np.array([[10.0, 0.05]])[:, : grid.points.shape[1]]


def least_number(grid):
    """``N`` at which ``sum k^2 q^(k^2) / sum q^(k^2)``, ``q = exp(-50 N h^2)``, the variance along ``a``, is .13."""
    k = np.arange(-20, 21) ** 2
    decay = brentq(lambda x: k @ np.exp(-x * k) / np.exp(-x * k).sum() - NARROW, 1.0, 10.0)
    return decay / (50 * grid.spacing[0] ** 2)


@pytest.mark.parametrize(
    "grid", [GRID, Grid(((0.0, 1.0), (-2.0, 5.0)), (12, 64)), Grid(((0.0, 1.0),), (256,))]
)
def test_no_posterior_is_narrower_than_a_cell(grid):
    rule = {**RULE, "cells": 2.5, "quantile": 0.1}
    embedding, t = steep(grid).astype(np.float32), grid.points
    by_samples = choose_resolution(embedding, t, **rule)
    number = choose_resolution(embedding, t, **rule, grid=grid)
    if len(grid.shape) == 2:
        assert number == pytest.approx(least_number(grid), rel=1e-3)
        assert number < by_samples / 5
    else:  # where 2.5 samples are wider than that
        assert number == by_samples < least_number(grid)
    fit = fit_spline(posterior(embedding, t, resolution=number), grid, splines=(12,) * t.shape[1])
    assert fit.certificate["narrow_share"] <= 0.1
    if by_samples > number:
        with pytest.raises(ValueError, match="one node or one line"):
            fit_spline(posterior(embedding, t, resolution=by_samples), grid)


def test_posteriors_wide_enough_keep_the_number_of_the_rule_to_the_last_digit():
    embedding, t = curved()
    assert choose_resolution(embedding, t, **RULE) == choose_resolution(
        embedding, t, **RULE, grid=Grid(((0.0, 1.0), (0.0, 1.0)), (64, 64))
    )


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_samples_on_a_line_of_the_plane_are_refused_in_one_line(slope):
    a = np.linspace(0.1, 0.9, 80)
    with pytest.raises(ValueError, match="fill no more than a line") as refused:
        choose_resolution(a[:, None], np.stack([a, slope * a], axis=1), **{**RULE, "cells": 5.0}, grid=GRID)
    assert "\n" not in str(refused.value)


def test_few_samples_among_many_nodes_count_their_own_cells():
    # 64 samples for 64 x 64 nodes: cells eight times as wide.
    few, grid = Grid(((0.0, 1.0), (0.0, 1.0)), (8, 8)), Grid(((0.0, 1.0), (0.0, 1.0)), (64, 64))
    rule = {**RULE, "cells": 2.5, "quantile": 0.1}
    number = choose_resolution(steep(few), few.points, **rule, grid=grid)
    one = NARROW * (8 * grid.spacing[0] / few.spacing[0]) ** 2  # in squared steps of the samples
    k = np.arange(-20, 21) ** 2
    decay = brentq(lambda x: k @ np.exp(-x * k) / np.exp(-x * k).sum() - one, 1.0, 10.0)
    assert number == pytest.approx(decay / (50 * few.spacing[0] ** 2), rel=1e-3)


def test_a_direction_that_is_never_narrow_does_not_matter():
    # Along b all embeddings are equal: by samples alone there is no answer.
    t = GRID.points
    embedding = 10 * t[:, :1]
    rule = {**RULE, "cells": 2.5, "quantile": 0.1}
    with pytest.raises(ValueError, match="still reached"):
        choose_resolution(embedding, t, **rule)
    assert choose_resolution(embedding, t, **rule, grid=GRID) == pytest.approx(least_number(GRID), rel=1e-3)
