"""The choice of the resolution number against its rule and against the Gaussian posterior in closed form."""

import numpy as np
import pytest

from hessgeo.grids import Grid
from hessgeo.posteriors import choose_resolution, posterior

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
