"""The comparison of routes: what it shows is free of the gauge, and rows of one kind share their colours."""

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

from hessgeo import store
from hessgeo.figures import routes
from hessgeo.figures.saving import save_figure
from hessgeo.grids import Grid

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (12, 9))


def route(label, kernel, resolution, *, scale=1.0, gauge=(0.0, 0.0, 0.0)):
    """``F = scale (a^2 + b^2 / 2)`` plus an affine function, with one indefinite cell."""
    a, b = np.meshgrid(*GRID.axes, indexing="ij")
    value = scale * (a**2 + b**2 / 2) + gauge[0] + gauge[1] * a + gauge[2] * b
    slope = np.stack([2 * scale * a + gauge[1], scale * b + gauge[2]], axis=-1)
    largest, definite = np.full(GRID.shape, 2 * scale), np.ones(GRID.shape, bool)
    largest[0, 0], definite[0, 0] = -1.0, False
    coordinates = {"a": GRID.axes[0], "b": GRID.axes[1]}
    certificate = json.dumps({"mean_divergence": 0.125})
    energy = xr.Dataset(
        {"free_energy": (("a", "b"), value), "gradient": (("a", "b", "i"), slope)},
        coordinates,
        {"resolution": resolution, "kernel": kernel, "certificate": certificate},
    )
    fields = {"largest_eigenvalue": (("a", "b"), largest), "positive_definite": (("a", "b"), definite)}
    return routes.Route(label, energy, xr.Dataset(fields, coordinates), [{"points": [[-1, 0.5], [2, 0.5]]}])


def maps(figure):
    """The images of the figure, row by row."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_the_numbers_are_free_of_the_gauge():
    plain = routes.draw([route("one", "gaussian", 100.0)])[1]
    tilted = routes.draw([route("one", "gaussian", 100.0, gauge=(3.0, -2.0, 7.0))])[1]
    for name in routes.COLUMNS:
        np.testing.assert_allclose(tilted[name], plain[name], atol=1e-12)
    assert plain["F_a_less_mean_nats_per_N"].mean() == pytest.approx(0, abs=1e-12)
    assert np.isnan(plain["log10_largest_eigenvalue"][0])
    np.testing.assert_allclose(plain["log10_largest_eigenvalue"][1:], np.log10(2))
    assert list(plain["positive_definite"][:2]) == [False, True]
    assert plain.shape == (GRID.size, 10)


def test_rows_of_one_kind_and_of_like_range_share_their_colours():
    rows = [
        route("p", "gaussian", 90.0),
        route("q", "gaussian", 80.0, scale=2),
        route("r", "network", 4.0, scale=2),
        route("s", "network", 4.0, scale=8),
    ]
    figure, table = routes.draw(rows)
    limits = [image.get_clim() for image in maps(figure)]
    assert len(limits) == 16
    assert limits[:4] == limits[4:8]
    # Of one kind, but four times the range: on one scale the first would fade.
    assert limits[12][1] == pytest.approx(4 * limits[8][1])
    # Colour bars stand above p, r and s.
    bars = [text for text in figure.findobj(Text) if text.get_text() == next(iter(routes.COLUMNS.values()))]
    assert len(bars) == 3
    assert table.groupby("route")["N"].first().to_dict() == {"p": 90.0, "q": 80.0, "r": 4.0, "s": 4.0}


def test_each_row_says_what_it_rests_on():
    figure, _ = routes.draw([route("CLIP", "gaussian", 382.4), route("U$^2$-Net", "network", 4.0)])
    text = " ".join(item.get_text() for item in figure.findobj(Text))
    assert all(
        part in text for part in ("CLIP", "U$^2$-Net", "= 382,", "= 4,", "KL of the fit 0.125 nats", "99.1 %")
    )


def test_files_give_the_same_figure_twice(tmp_path):
    rows = [route("one", "gaussian", 90.0), route("two", "network", 4.0)]
    for name in ("x", "y"):
        save_figure(*routes.draw(rows), *(tmp_path / f"{name}.{kind}" for kind in ("svg", "png", "csv")))
    for kind in ("svg", "png", "csv"):
        assert (tmp_path / f"x.{kind}").read_bytes() == (tmp_path / f"y.{kind}").read_bytes()


def test_certificates_are_read_as_they_are_stored(tmp_path):
    one = route("one", "gaussian", 90.0)
    store.write_dataset(tmp_path / "f.nc", one.free_energy)
    again = routes.Route("one", store.read_dataset(tmp_path / "f.nc"), one.metric, one.boundaries)
    assert routes.draw([again])[1].equals(routes.draw([one])[1])


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="no studies"):
        routes.draw([])
