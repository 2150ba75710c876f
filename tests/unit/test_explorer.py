"""The explorer's page, as text: what is packed comes out again, and nothing in it asks for anything."""

import base64
import io
import json
import re

import explored
import numpy as np
import pytest
from PIL import Image

from hessgeo.explorer import Layer, assemble, make_atlas
from hessgeo.explorer.assemble import MODULES, page_file, page_script
from hessgeo.explorer.atlas import grid_cells, scattered_cells
from hessgeo.explorer.packing import pack, script_json, unpack
from hessgeo.explorer.rows import coarse_shape, measured_rows, quantised
from hessgeo.grids import Grid, bilinear_weights
from hessgeo.pipeline.explorer import SOURCE
from hessgeo.posteriors import posterior, posterior_rows


@pytest.fixture(scope="module")
def page():
    return assemble(explored.content(history=True))


@pytest.fixture(scope="module")
def data(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


def test_few_numbers_keep_single_precision_and_many_sixteen_bits():
    values = np.random.default_rng(0).normal(size=(30, 7))
    values[3, 4], values[5, 5] = np.nan, np.inf
    assert np.array_equal(unpack(pack(values)), values.astype("f4"), equal_nan=True)
    many = unpack(pack(values, exact=10))
    known = np.isfinite(values)
    spread = np.ptp(values[known])
    assert np.abs(many - values)[known].max() <= spread / 131_068 * (1 + 1e-9)
    assert np.isnan(many[~known]).all()
    assert np.array_equal(unpack(pack(np.arange(5), exact=0)), np.arange(5))
    assert np.array_equal(unpack(pack(np.full(3, 2.5), exact=0)), np.full(3, 2.5))


def test_json_cannot_end_the_element_that_it_stands_in():
    value = {"name": "</script><script>alert(1)</script>\u2028", "wide": "\u00e4"}
    text = script_json(value)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_small_images_are_packed_without_loss_where_the_map_has_them():
    images = np.random.default_rng(1).integers(0, 256, (12, 5, 4, 3), np.uint8)
    atlas = make_atlas(images.__getitem__, (5, 4, 3), *grid_cells((4, 3)))
    (level,) = atlas.levels
    whole = picture(level.blocks[0, 0])
    assert whole.shape == (15, 16, 3)
    # Node (1, 2): second column, uppermost line.
    assert np.array_equal(whole[:5, 4:8], images[1 * 3 + 2])
    for row, (column, line) in enumerate(atlas.cells):
        assert np.array_equal(whole[5 * line : 5 * line + 5, 4 * column : 4 * column + 4], images[row])
    assert atlas.words == "Images as they are, 4 × 5 pixels"


def smooth_images(count, side):
    """Images of a sloping plane, a wave and a little noise, which compress as photographs do."""
    y, x = np.mgrid[:side, :side] / side
    waves = [100 + 60 * np.sin(7 * x + k) + 50 * y for k in range(count)]
    noise = np.random.default_rng(2).integers(0, 20, (count, side, side))
    return (np.stack(waves) + noise).clip(0, 255)[..., None].repeat(3, axis=-1).astype(np.uint8)


def test_large_images_fit_into_the_budget_at_two_sizes():
    images, budget = smooth_images(25, 96), 40_000
    atlas = make_atlas(images.__getitem__, (96, 96, 3), *scattered_cells(25), budget=budget)
    assert sum(level.size for level in atlas.levels) <= budget
    more = make_atlas(images.__getitem__, (96, 96, 3), *scattered_cells(25), budget=4 * budget)
    assert (more.levels[-1].tile[0], more.quality) > (atlas.levels[-1].tile[0], atlas.quality)
    overview, detail = more.levels
    assert overview.across >= 5
    column, line = more.cells[20]
    block = picture(detail.blocks[column // detail.across, line // detail.across])
    side = detail.tile[0]
    top, left = line % detail.across * side, column % detail.across * side
    from hessgeo.figures.thumbnails import shrink

    off = block[top : top + side, left : left + side].astype(float) - shrink(images[20], side)
    assert np.abs(off).mean() < 9  # lossy, but that image and no other
    assert (
        np.abs(block[top : top + side, left : left + side].astype(float) - shrink(images[23], side)).mean()
        > 20
    )
    assert f"shown at {side} × {side}" in more.words


def test_images_of_two_channels_cannot_be_drawn():
    with pytest.raises(ValueError, match="2 channels; 1 \\(grey\\) or 3"):
        make_atlas(np.zeros((4, 3, 3, 2), np.uint8).__getitem__, (3, 3, 2), *grid_cells((2, 2)))


def test_measured_rows_are_those_of_the_posterior_but_for_eight_bits():
    grid, embedding = explored.GRID, explored.embedding()
    found = posterior(embedding, grid.points, resolution=explored.RESOLUTION)
    rows = measured_rows(found, embedding, grid)
    assert rows.shape == grid.shape  # fewer nodes than cells
    exact = posterior_rows(embedding, np.array([40, 100]), kernel="gaussian", resolution=explored.RESOLUTION)
    whole, (across, up) = picture(rows.picture), rows.shape
    for source, row in zip((40, 100), exact @ bilinear_weights(grid.points, grid), strict=True):
        line, column = divmod(source, rows.columns)
        tile = whole[line * up : line * up + up, column * across : column * across + across]
        p = (tile[::-1].T / 255.0) ** 2
        assert np.abs(p / p.sum() - row.reshape(grid.shape) / row.sum()).max() < 0.01 * row.max()


def test_quantised_rows_keep_what_is_a_ten_thousandth_of_the_largest():
    row = np.array([[[1.0, 1e-4], [1e-6, 0.0]]])
    assert quantised(row).tolist() == [[[255, 3], [0, 0]]]


@pytest.mark.parametrize(("count", "expected"), [(4096, (32, 32)), (65_536, (11, 11)), (200_000, None)])
def test_many_sources_have_fewer_cells_or_none(count, expected):
    assert coarse_shape(Grid(((0, 1), (0, 1)), (64, 64)), count) == expected


def test_scales_leave_spikes_out_and_are_even_about_zero():
    values = np.linspace(1, 2, 1000).reshape(40, 25).copy()
    values[0, 0], values[1, 1] = 1e9, np.nan
    low, high = Layer("x", "x", "", "", values).limits
    assert 1 <= low < 1.02
    assert 1.98 < high <= 2.02
    low, high = Layer("x", "x", "", "", values - 1.2, palette="vlag").limits
    assert low == -high
    constant = Layer("x", "x", "", "", np.full((3, 3), 4.0), scale="log").limits
    assert constant[0] < 4 < constant[1]


def test_layers_are_the_fields_of_the_study(data):
    free_energy, metric, phases = explored.fields()
    layers = {layer["key"]: layer for layer in data["layers"]}
    assert list(layers) == [
        "phase",
        "F",
        "logdet",
        "largest",
        "measured",
        "lipschitz",
        "F_error",
        "g_error",
        "history",
    ]
    assert np.allclose(unpack(layers["F"]["values"]), free_energy["free_energy"], rtol=1e-6)
    assert np.array_equal(unpack(layers["phase"]["values"]), phases["label"])
    assert np.allclose(unpack(layers["logdet"]["values"]), metric["log_determinant"], rtol=1e-5)
    assert np.allclose(unpack(layers["g_error"]["values"]), 0.1, rtol=1e-5)
    assert unpack(layers["history"]["values"]).shape == (2, *explored.GRID.shape)
    assert layers["history"]["steps"][1] == "step 2 of 2, noise level 0.1"


def test_windows_of_a_zoom_are_kept_with_their_images(data):
    zoom, windows = data["zoom"], explored.windows()
    assert zoom["series"] == ["float64-25", "float16-25"]
    assert [window["resolved"] for window in zoom["windows"]] == [True, False, True]
    assert np.array_equal(unpack(zoom["labels"]), windows["label"])
    whole = picture(base64.b64decode(zoom["pictures"][1]))
    # The second along the first parameter and the first along the second: on the right, below.
    assert whole[3, 2] == windows["image"][1, 1, 0, 0, 0, 0] == 20 * (4 + 2)


def test_nothing_in_the_page_asks_for_anything(page):
    # Neither links, nor scripts, nor images from elsewhere; and the browser is told to refuse any.
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "connect-src 'none'" in page
    assert "closed &lt;form&gt;" in page
    assert "<form>" not in page
    assert "{{" not in page


def test_modules_become_one_script(page):
    assert {f"{name}.js" for name in MODULES} | {"index.html", "style.css"} == {
        file.name for file in SOURCE.iterdir()
    }
    script = page_script()
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names))  # in one script all names are in one place
    for place, name in enumerate(MODULES):
        used = re.findall(r'from "\./(\w+)\.js"', page_file(f"{name}.js"))
        assert set(used) <= set(MODULES[:place])
    assert max(len(page_file(f"{name}.js").splitlines()) for name in MODULES) <= 400
    assert base64.b64decode(re.search(r'id="images-0-0-0">([^<]+)<', page)[1])[:4] == b"\x89PNG"
