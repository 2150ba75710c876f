"""Distance maps and Voronoi cells as figures: right on a flat metric, with the numbers that they show."""

import numpy as np
import pytest
import xarray as xr

from hessgeo.figures import distances, voronoi
from hessgeo.grids import Grid
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings

GRID = Grid(((-1.0, 1.0), (0.0, 1.0)), (9, 7))
METRIC = np.diag([4.0, 1.0])
MEDOIDS = np.array([[-0.5, 0.5], [0.6, 0.5]])
SETTINGS = {"grid": GRID, "smoothing": 0.0, "floor": 1e-3}


@pytest.fixture(scope="module")
def flat():
    """A flat study of two phases, whose border at a = 0.125 is not that of their medoids."""
    axes = dict(zip("ab", GRID.axes, strict=True))
    field = np.broadcast_to(METRIC, (*GRID.shape, 2, 2))
    energy = xr.Dataset({"fisher_metric": (("a", "b", "i", "j"), field)}, axes)
    label = np.where(GRID.points[:, 0] < 0.24, 1, 2).reshape(GRID.shape)
    shares = [float((label == k).mean()) for k in (1, 2)]
    phases = {
        "phases": [
            {"label": k, "area": share, "medoid": k - 1} for k, share in zip((1, 2), shares, strict=True)
        ],
        "boundaries": [{"points": [[0.125, 0.0], [0.125, 1.0]]}],
    }
    return energy, xr.Dataset({"label": (("a", "b"), label)}, axes), phases


def test_distances_are_those_from_the_largest_phase(flat):
    energy, _, phases = flat
    figure, table = distances.draw(**distances.gather(energy, phases, MEDOIDS, **SETTINGS))
    step = GRID.points - MEDOIDS[0]
    exact = np.sqrt(np.einsum("ni,ij,nj->n", step, METRIC, step))
    np.testing.assert_allclose(table["distance_from_medoid"], exact, atol=1e-3 * exact.max())
    np.testing.assert_allclose(table[["a", "b"]], GRID.points)
    assert figure.get_figwidth() == 3.4


def test_cells_are_those_nearest_to_each_medoid(flat):
    energy, fields, phases = flat
    _, table = voronoi.draw(**voronoi.gather(energy, fields, phases, MEDOIDS, **SETTINGS))
    assert table["label"].tolist() == [1, 2]
    # The border lies at a = 0.05: 5 of 9 columns, and phases have 5 and 4.
    assert table["cell_share"].tolist() == pytest.approx([5 / 9, 4 / 9])
    assert table["phase_share"].tolist() == pytest.approx([5 / 9, 4 / 9])
    assert table["nearest_medoid_distance"].tolist() == pytest.approx(
        [2.2, 2.2], rel=0.03
    )  # read at the nearest node


def test_they_are_drawn_where_a_setting_asks(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def names(**figures):
        settings = read_settings(merged(config, {"studies": {"digits": {"figures": figures}}}))
        study = Layout(settings, tmp_path).of("digits")
        return {figure.name for figure in study.figures} & {"distances", "voronoi"}

    assert names() == {"distances", "voronoi"}
    assert names(distances=False) == set()
