"""Figures of the paper that no study has by default: their numbers are those that they are given."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

from hessgeo.evaluation.paper_outcomes import bregman, plateaus
from hessgeo.evaluation.tables import Case
from hessgeo.figures import bregman_divergence, first_derivatives_over_images, second_derivatives_over_images
from hessgeo.figures.mosaic import tile_nodes
from hessgeo.grids import Grid
from hessgeo.pipeline.solvable_systems import solvable_system

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (12, 8))


@pytest.mark.parametrize(
    ("module", "columns"),
    [
        (first_derivatives_over_images, ["dF_da_nats_per_N", "dF_db_nats_per_N"]),
        (second_derivatives_over_images, ["F_aa_nats_per_N", "F_bb_nats_per_N"]),
    ],
)
def test_fields_lie_over_the_images(module, columns):
    label = np.where(np.arange(12)[:, None] < 5, 1, 2) + np.zeros(GRID.shape, int)
    gradient = np.stack([2.0 * label, -label], axis=-1)
    metric = np.arange(1.0, 97.0).reshape(*GRID.shape)[..., None, None] * np.eye(2)
    fields = {"gradient": (("a", "b", "i"), gradient), "fisher_metric": (("a", "b", "i", "j"), metric)}
    energy = xr.Dataset(fields, {"a": GRID.axes[0], "b": GRID.axes[1]})
    nodes = tile_nodes(GRID, (8, 8, 1), tiles=6)
    images = np.full((nodes.size, 8, 8, 1), 200, np.uint8)
    lines = [{"points": [[0.2, 0.0], [0.2, 1.0]]}]
    figure, table = module.draw(energy, label, images, nodes, GRID, lines)
    assert list(table.columns) == ["a", "b", "label", *columns]
    assert len(table) == GRID.size
    maps = [axes.images for axes in figure.axes if len(axes.images) == 2]
    # Images below, colours that let them through above.
    assert [(below.get_alpha(), 0 < over.get_alpha() < 1) for below, over in maps] == [(None, True)] * 2
    assert all(text.get_fontsize() >= 7 for text in figure.findobj(Text) if text.get_text())
    if module is first_derivatives_over_images:
        np.testing.assert_allclose(table["dF_da_nats_per_N"], 2.0 * label.ravel())
        assert "explains 100.0 %" in plateaus([table], []).found


def test_the_divergence_is_what_lies_between_free_energy_and_tangent():
    """Of an exact system: the gap is convex, nothing at t', and the posterior closes in on its exponential."""
    extent = ((0.1, 0.4), (-0.25, 0.25))
    # Updates enough that states are those of their parameters.
    settings = {"kind": "ising", "size": 4, "parameters": "natural", "extent": extent, "sweeps": 50}
    case = Case("Ising", solvable_system(settings), Grid(extent, (9, 9)))
    gathered = bregman_divergence.gather([case])
    figure, table = bregman_divergence.draw(**gathered)
    few, many = (part for _, part in table.groupby("N"))
    source = gathered["found"].source
    assert few["divergence"].min() >= -1e-12
    assert few["divergence"].iloc[source] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(few["exponential"], np.exp(-few["divergence"]))
    apart = [np.abs(part["posterior"] - part["exponential"]).max() for part in (few, many)]
    assert apart[1] < apart[0] / 2
    assert bregman([table], []).verdict == "reproduced"
    assert all(text.get_fontsize() >= 7 for text in figure.findobj(Text) if text.get_text())
