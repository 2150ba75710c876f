"""How sharp the boundary of two modes is: the solved flow against closed forms, few steps, and noise."""

import math

import numpy as np
import pytest

from hessgeo.evaluation.flow_boundaries import boundary_table, contrast_table, noise_table, steps_table


def test_the_solved_flow_has_the_known_slope_and_rate():
    table = boundary_table([0.3, 0.5, 0.7, 1.0])
    known = [sigma * math.exp(1 / (2 * sigma**2)) for sigma in table["sigma"]]
    np.testing.assert_allclose(table["lipschitz"], known, rtol=1e-4)
    np.testing.assert_allclose(table["exact_lipschitz"], known, rtol=1e-12)
    np.testing.assert_allclose(table["rate"], table["exact_rate"], rtol=1e-4)
    proposition = [(1 + (1 - sigma**2) / sigma**4) / 2 for sigma in table["sigma"]]
    np.testing.assert_allclose(table["exact_rate"], proposition, rtol=1e-12)


def test_few_steps_lack_some_of_the_slope_and_many_none():
    shares = steps_table([0.5], [5, 500, 1000]).set_index("steps")["share"]
    assert shares[5] < 0.7
    # An error of first order: twice the steps, half of what is lacking.
    assert (1 - shares[500]) / (1 - shares[1000]) == pytest.approx(2, rel=0.02)


def test_noise_takes_the_contrast_of_a_boundary():
    noise = noise_table(0.3, 4, (0.3, 0.6, 0.9), np.linspace(-1.5, 1.5, 13), ("ddim", "renewal"))
    contrasts = contrast_table(noise)
    for _, own in contrasts.groupby("eta_rule"):
        assert np.all(np.diff(own["contrast"]) < 0)
        assert own["contrast"].iloc[-1] > 1
    middle = noise.groupby(["eta_rule", "eta"])["metric"].idxmax()
    np.testing.assert_allclose(noise.loc[middle, "latent"], 0, atol=1e-12)
