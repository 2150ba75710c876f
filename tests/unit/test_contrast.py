"""How much steeper boundaries are: a known factor, noise, and intervals."""

import numpy as np
import pytest

from hessgeo.evaluation.contrast import boundary_contrast
from hessgeo.evaluation.model_differences import Blocks

LABEL = np.repeat([1, 1, 1, 1, 2, 2, 2, 2], 3)[:, None] * np.ones((1, 24), dtype=int)
BLOCKS = Blocks.over(LABEL.shape, side=6, resamples=400, seed=3)
BESIDE = np.isin(np.arange(24), [11, 12])[:, None] & np.ones((1, 24), dtype=bool)


@pytest.mark.parametrize("factor", [0.5, 1.0, 7.0])
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_the_contrast_is_the_factor_in_all_units(factor, unit):
    found = boundary_contrast(unit * np.where(BESIDE, factor, 1.0), LABEL, BLOCKS)
    assert found.value == pytest.approx(factor, rel=1e-12)
    assert [found.low, found.high] == pytest.approx([factor, factor], rel=1e-9)


def test_noise_has_no_contrast_and_its_interval_narrows():
    generator = np.random.default_rng(5)
    field = np.exp(0.3 * generator.normal(size=(200, *LABEL.shape)))
    found = [boundary_contrast(one, LABEL, BLOCKS) for one in field]
    # Of 95 % intervals of a few blocks some more miss than one in twenty; a wrong centre would miss nearly all.
    assert np.mean([one.low <= 1 <= one.high for one in found]) > 0.85
    # A tenth of the noise, a tenth of the interval.
    noise, widths = generator.normal(size=LABEL.shape), {}
    for spread in (0.3, 0.03):
        one = boundary_contrast(np.exp(spread * noise), LABEL, BLOCKS)
        widths[spread] = np.log(one.high / one.low)
    assert widths[0.3] / widths[0.03] == pytest.approx(10, rel=1e-6)


def test_where_nothing_can_be_compared_there_is_no_contrast():
    field = np.ones(LABEL.shape)
    assert boundary_contrast(field, np.ones_like(LABEL), BLOCKS) is None
    assert boundary_contrast(0 * field, LABEL, BLOCKS) is None
    with pytest.raises(ValueError, match="must be that of label"):
        boundary_contrast(field[1:], LABEL, BLOCKS)
