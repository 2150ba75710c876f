"""The figures of paths: geodesics on the mosaic, strips of images."""

import numpy as np
import pytest

from hessgeo.figures import geodesic_mosaic, interpolation_strips, mosaic
from hessgeo.figures.saving import save_figure
from hessgeo.grids import Grid

GRID = Grid(((-1.0, 1.0), (0.0, 3.0)), (12, 18))


def images(count, channels=1):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def curves():
    s = np.linspace(0, 1, 20)
    first = np.stack([-0.8 + 1.5 * s, 0.5 + s + 0.5 * np.sin(np.pi * s)], axis=-1)
    return np.stack([first, first[::-1] + np.array([0, 0.8])])


@pytest.mark.parametrize("channels", [1, 3])
def test_geodesics_and_lines_share_their_ends_on_both_panels(channels, tmp_path):
    nodes = mosaic.tile_nodes(GRID, (8, 8, channels), tiles=6)
    field = np.exp(np.linspace(0, 5, GRID.size)).reshape(GRID.shape)
    boundary = [{"points": [[0.0, 0.0], [0.0, 3.0]]}]
    figure, table = geodesic_mosaic.draw(
        images(nodes.size, channels), nodes, GRID, field, boundary, curves(), {"length": [1.5, 2.5]}
    )
    for axes in figure.axes[:2]:
        lines = {
            tuple(np.round(line.get_xydata()[[0, -1]].ravel(), 6))
            for line in axes.lines
            if len(line.get_xydata()) in (2, 20)
        }
        for curve in curves():
            assert tuple(np.round(curve[[0, -1]].ravel(), 6)) in lines
        # Neither a curve nor a boundary may move the box.
        assert axes.get_xlim() == pytest.approx((-1 - 1 / 11, 1 + 1 / 11))
    assert len(table) == 40
    assert table.groupby("curve")["length"].first().tolist() == [1.5, 2.5]
    np.testing.assert_allclose(table.loc[table["curve"] == 1, ["a", "b"]], curves()[1])
    save_figure(figure, table, tmp_path / "x.svg", tmp_path / "x.png", tmp_path / "x.csv")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_geodesics_that_do_not_fit_are_refused():
    nodes = mosaic.tile_nodes(GRID, (8, 8, 1), tiles=6)
    field = np.ones(GRID.shape)
    with pytest.raises(ValueError, match="do not fill"):
        geodesic_mosaic.draw(images(3), nodes, GRID, field, [], curves(), {})
    with pytest.raises(ValueError, match="length are not the numbers of 2 curves"):
        geodesic_mosaic.draw(images(nodes.size), nodes, GRID, field, [], curves(), {"length": [1.0]})


def test_strips_show_every_image_in_its_place(tmp_path):
    rng = np.random.default_rng(1)
    pictures = images(2 * 2 * 5).reshape(2, 2, 5, 8, 8, 1)
    points, steps = rng.normal(size=(2, 2, 5, 2)), rng.random((2, 2, 4))
    figure, table = interpolation_strips.draw(
        pictures, points, steps, ["geodesic", "line"], step_label="step"
    )
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 20
    # Pair after pair, way after way, place after place; the second pair's line starts at image 15.
    np.testing.assert_array_equal(np.asarray(shown[15].images[0].get_array()), pictures[1, 1, 0, ..., 0])
    charts = [axes for axes in figure.axes if not axes.images]
    np.testing.assert_allclose(charts[1].lines[1].get_ydata(), steps[1, 1])
    # A step stands between the images it joins: at the right edge of image k is step k.
    edge = shown[0].get_position().x0 + (shown[1].get_position().x0 - shown[0].get_position().x0)
    step = figure.transFigure.inverted().transform(charts[0].transData.transform((1, 0)))[0]
    assert step == pytest.approx(edge, abs=0.01)
    assert f"total {steps[0, 0].sum():.3g}" in "".join(text.get_text() for text in figure.texts)
    assert np.isnan(table["step"].iloc[0])
    assert table["step"].iloc[1:5].tolist() == pytest.approx(steps[0, 0].tolist())
    save_figure(figure, table, tmp_path / "x.svg", tmp_path / "x.png", tmp_path / "x.csv")


def test_strips_that_do_not_fit_are_refused():
    pictures = images(20).reshape(2, 2, 5, 8, 8, 1)
    with pytest.raises(ValueError, match="do not fit"):
        interpolation_strips.draw(
            pictures, np.zeros((2, 2, 5, 2)), np.zeros((2, 2, 5)), ["a", "b"], step_label=""
        )
