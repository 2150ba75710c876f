"""Figures: the numbers beside them are those passed in, and they stand where they belong."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from printed import assert_printable, assert_whole
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp, softmax

from hessgeo.figures import (
    distances,
    error_bars,
    first_derivatives,
    free_energy,
    lipschitz,
    metric,
    mosaic,
    phases,
    posteriors,
    registry,
    resolution_scan,
    second_derivatives,
    style,
    voronoi,
)
from hessgeo.figures.saving import save_figure
from hessgeo.grids import Grid

SLOPES = np.array([[0.30, 0.10], [-0.20, 0.25], [-0.05, -0.30]])  # grad F in each phase, nats per N
OFFSETS = np.array([-0.12, 0.02, 0.05])
SHARPNESS = 60.0  # inverse width of the boundaries
RESOLUTION = 200.0
NO_LINES = {"boundaries": []}


def make_study(shape=(24, 20), extent=((-1.0, 2.0), (-1.0, 2.0)), *, pixels=12, channels=1, seed=0):
    """A study with known answers: F = logsumexp of three planes, so three phases and a triple point."""
    grid = Grid(extent, shape)
    rng = np.random.default_rng(seed)
    plane = SHARPNESS * (grid.points @ SLOPES.T + OFFSETS)
    weight = softmax(plane, axis=1)
    gradient = weight @ SLOPES
    centred = SLOPES[None] - gradient[:, None]
    hessian = SHARPNESS * np.einsum("nk,nki,nkj->nij", weight, centred, centred) + 2e-3 * np.eye(2)
    third = SHARPNESS**2 * np.einsum("nk,nki,nkj,nkl->nijl", weight, centred, centred, centred)
    fields = {
        "free_energy": logsumexp(plane, axis=1) / SHARPNESS,
        "gradient": gradient,
        "fisher_metric": hessian,
        "third": third,
    }
    for name, share in {"free_energy": 2e-3, "gradient": 0.01, "fisher_metric": 0.04}.items():
        rough = gaussian_filter(rng.standard_normal(shape), 3, mode="nearest").ravel()
        size = np.abs(fields[name]).max() / 500 + np.abs(fields[name])
        factor = share * np.exp(4 * rough).reshape(-1, *[1] * (size.ndim - 1))
        fields[f"{name}_error"] = factor * size
    energy = on_grid(grid, fields).assign_attrs(resolution=RESOLUTION, kernel="gaussian", fit="spline")
    label = weight.argmax(axis=1) + 1
    return SimpleNamespace(
        grid=grid,
        energy=energy,
        metric=make_metric(grid, hessian),
        fields=make_phase_fields(grid, label, hessian, rng),
        phases=make_phases(grid, label, gradient),
        images=make_images(grid, label, pixels, channels, rng),
        posterior=softmax(RESOLUTION * (gradient @ grid.points.T - fields["free_energy"]), axis=1),
    )


def on_grid(grid, fields):
    """Per-node arrays as a dataset on dims (a, b, i, j, k)."""
    a, b = grid.axes
    variables = {
        name: (("a", "b", "i", "j", "k")[: values.ndim + 1], values.reshape(*grid.shape, *values.shape[1:]))
        for name, values in fields.items()
    }
    return xr.Dataset(variables, coords={"a": a, "b": b})


def make_metric(grid, hessian):
    """Eigenvalues and determinant, with a patch of cells where the metric fails."""
    small, large = np.linalg.eigvalsh(hessian).T
    corner = (grid.points[:, 0] > 1.5) & (grid.points[:, 1] < -0.6)
    small = np.where(corner, -small, small)
    determinant = small * large
    return on_grid(
        grid,
        {
            "largest_eigenvalue": large,
            "smallest_eigenvalue": small,
            "log_determinant": np.log(determinant, where=determinant > 0, out=np.full(grid.size, np.nan)),
            "positive_definite": ~corner,
            "response_difference": 0.1 * np.sqrt(large / large.max()),
            "antisymmetric_share": 0.02 + 0.1 * (large / large.max()) ** 2,
        },
    )


def make_phase_fields(grid, label, hessian, rng):
    """Labels, ridge strength and a rough Lipschitz field that peaks at the boundaries."""
    large = np.linalg.eigvalsh(hessian)[:, 1]
    return on_grid(
        grid,
        {
            "label": label.astype(np.int32),
            "ridge": large,
            "lipschitz": np.sqrt(large) * np.exp(0.3 * rng.standard_normal(grid.size)),
        },
    )


def make_phases(grid, label, gradient):
    """The content of phases.json, boundaries and triple point computed exactly."""
    corner = np.linalg.solve(SLOPES[1:] - SLOPES[:1], OFFSETS[:1] - OFFSETS[1:])
    boundaries = []
    for p, q, other in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        along = np.array([-1.0, 1.0]) * (SLOPES[p] - SLOPES[q])[::-1]
        along *= np.sign(along @ (SLOPES[p] - SLOPES[other])) / np.linalg.norm(along)
        points = corner + np.linspace(0, 5, 400)[:, None] * along
        low, high = np.array(grid.extent).T
        inside = np.all((points >= low) & (points <= high), axis=1)
        boundaries.append({"phases": [p + 1, q + 1], "points": points[inside].tolist()})
    entries = []
    for name in np.unique(label):
        mine = np.flatnonzero(label == name)
        centre = grid.points[mine].mean(axis=0)
        entries.append(
            {
                "label": int(name),
                "area": len(mine) / grid.size,
                "medoid": int(mine[np.argmin(np.linalg.norm(grid.points[mine] - centre, axis=1))]),
                "mean_gradient": gradient[mine].mean(axis=0).tolist(),
                "samples": len(mine),
            }
        )
    triple = [{"phases": [1, 2, 3], "point": corner.tolist()}]
    return {"phases": entries, "boundaries": boundaries, "triple_points": triple}


def make_images(grid, label, pixels, channels, rng):
    """Blobs: one pattern a phase, drifting slowly inside it."""
    count = int(label.max())
    y, x = np.mgrid[:pixels, :pixels] / (pixels - 1)
    centres = rng.uniform(0.15, 0.85, (count, 4, channels, 2))
    drift = 0.06 * (grid.points - grid.points.mean(axis=0))
    images = np.zeros((grid.size, pixels, pixels, channels))
    for blob in range(4):
        for channel in range(channels):
            spot = centres[label - 1, blob, channel] + drift
            distance = (x - spot[:, 0, None, None]) ** 2 + (y - spot[:, 1, None, None]) ** 2
            images[..., channel] += np.exp(-distance / 0.02)
    return (255 * np.clip(images, 0, 1)).round().astype(np.uint8)


def make_scan():
    """Rows of resolution_scan.csv for five values of N."""
    resolution = np.array([50.0, 100.0, 200.0, 400.0, 800.0])
    return pd.DataFrame(
        {
            "N": resolution,
            "chosen": resolution == 200.0,
            "range_free_energy": [0.21, 0.25, 0.27, 0.28, 0.285],
            "rms_gradient": [0.2, 0.23, 0.25, 0.26, 0.262],
            "largest_eigenvalue_99": [0.9, 1.7, 3.1, 5.0, 7.4],
            "largest_eigenvalue_median": [0.05, 0.04, 0.03, 0.024, 0.02],
            "effective_cells_median": [420.0, 230.0, 120.0, 63.0, 30.0],
            "phases": [2, 3, 3, 3, 5],
            "positive_definite_share": [1.0, 1.0, 0.999, 0.99, 0.96],
            "total_variation": [0.05, 0.06, 0.09, 0.16, 0.28],
        }
    )


def make_sources(study, count=6):
    """Sources, their images, a measured (perturbed) and the fitted posterior."""
    index = np.linspace(0.05, 0.95, count) * (study.grid.size - 1)
    index = index.astype(int)
    fitted = study.posterior[index].reshape(count, *study.grid.shape)
    rough = np.random.default_rng(1).standard_normal(fitted.shape)
    measured = fitted * np.exp(1.5 * gaussian_filter(rough, (0, 2, 2)))
    measured /= measured.sum(axis=(1, 2), keepdims=True)
    return study.images[index], measured, fitted, study.grid.points[index], study.grid


def draw_mosaic(images, grid, boundaries, *, tiles):
    """The mosaic of one image a node."""
    nodes = mosaic.tile_nodes(grid, images.shape[1:], tiles=tiles)
    return mosaic.draw(images[nodes.ravel()], nodes, grid, boundaries)


def draw_phases(fields, described, images):
    """The phases, their medoids taken from all images."""
    return phases.draw(**phases.gather(fields, described, images))


def draw_all(study):
    """Every figure of a study by name."""
    boundaries, points = study.phases["boundaries"], study.grid.points
    options = {"grid": study.grid, "smoothing": 1.0, "floor": 1e-2}
    return {
        "mosaic": draw_mosaic(study.images, study.grid, boundaries, tiles=12),
        "free_energy": free_energy.draw(study.energy),
        "first_derivatives": first_derivatives.draw(study.energy, study.phases),
        "second_derivatives": second_derivatives.draw(study.energy, study.phases),
        "metric": metric.draw(study.metric, study.phases),
        "phases": draw_phases(study.fields, study.phases, study.images),
        "posteriors": posteriors.draw(*make_sources(study)),
        "lipschitz": lipschitz.draw(study.fields, study.phases),
        "resolution_scan": resolution_scan.draw(make_scan()),
        "error_bars": error_bars.draw(study.energy),
        "distances": distances.draw(**distances.gather(study.energy, study.phases, points, **options)),
        "voronoi": voronoi.draw(
            **voronoi.gather(study.energy, study.fields, study.phases, points, **options)
        ),
    }


def make_patchwork(count, shape=(40, 40), pixels=8):
    """A phase map of ``count`` patches around random centres, with their images."""
    grid = Grid(((-1.0, 2.0), (-1.0, 2.0)), shape)
    rng = np.random.default_rng(count)
    centres = rng.uniform(-1, 2, (count, 2))
    label = np.linalg.norm(grid.points[:, None] - centres, axis=2).argmin(axis=1) + 1
    described = make_phases(grid, label, np.zeros((grid.size, 2)))
    described |= {"boundaries": [], "triple_points": []}
    images = make_images(grid, label, pixels, 1, rng)
    return on_grid(grid, {"label": label.astype(np.int32)}), described, images


@pytest.fixture(scope="module")
def study():
    return make_study()


@pytest.fixture(scope="module")
def drawn(study):
    return draw_all(study)


@pytest.fixture(scope="module")
def drawn_wide():
    return draw_all(make_study((20, 11), ((0.0, 3.0), (0.5, 2.0)), channels=3))


# Those of studies of another kind, or with tests of their own.
APART = ("inversion", "profile", "calibration", "coordinates")
FIGURES = tuple(figure.name for figure in registry.STUDY if figure.name not in APART)


def every_axes(figure):
    """All axes of a figure, colour bars among them."""
    return [axes for outer in figure.axes for axes in (outer, *outer.child_axes)]


def rendered(figure):
    """The figure's pixels (rows from the top) and its Agg canvas."""
    canvas = FigureCanvasAgg(figure)
    with style.theme():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba()), canvas


def pixel_at(figure, axes, point):
    """Colour that is seen at a parameter point."""
    pixels, _ = rendered(figure)
    x, y = axes.transData.transform(point)
    return pixels[pixels.shape[0] - 1 - int(y), int(x), :3]


def saved(figure_and_table, folder):
    """Paths of a figure written to a folder."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"figure.{ending}" for ending in ("svg", "png", "csv")]
    save_figure(*figure_and_table, *paths)
    return paths


def flat(study, name, *component):
    """A component of a field of the study, as the table orders it."""
    return study.energy[name].to_numpy()[(..., *component)].ravel()


def test_a_verdict_stands_above_the_figure_and_moves_nothing_in_it(study, tmp_path):
    plain = saved(free_energy.draw(study.energy), tmp_path / "plain")
    marked = tmp_path / "marked"
    marked.mkdir()
    paths = [marked / f"figure.{ending}" for ending in ("svg", "png", "csv")]
    words = "fitted posteriors differ from the measured ones by 0.15 nats, noise explains 0"
    save_figure(*free_energy.draw(study.energy), *paths, verdict=words)
    before, after = (np.asarray(Image.open(path)) / 255 for path in (plain[1], paths[1]))
    added = after.shape[0] - before.shape[0]
    assert added > 20
    assert after.shape[1] == before.shape[1]
    # Letters and lines may fall otherwise onto pixels.
    assert np.abs(after[added:] - before).mean() < 0.01
    band = after[:added, :, :3]
    assert ((band[..., 0] > 0.6) & (band[..., 1] < 0.4)).any()  # red words
    assert plain[2].read_bytes() == paths[2].read_bytes()


# The look


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_with_numbers_has_a_label(drawn, name):
    figure, _ = drawn[name]
    numbered = 0
    for axes in every_axes(figure):
        for axis in axes._axis_map.values():
            # Both are asked for: an axis may be there and its numbers off, as on inner panels.
            if axes.axison and any(tick.get_visible() and tick.get_text() for tick in axis.get_ticklabels()):
                numbered += 1
                assert axis.get_label_text(), f"{axis.axis_name} axis of {axes}"
    assert numbered >= 2


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("shape", ["square", "wide"])
def test_nothing_is_cut_off_at_the_edges(drawn, drawn_wide, name, shape):
    figure, _ = (drawn if shape == "square" else drawn_wide)[name]
    assert_whole(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_print_size_and_text_size(drawn, name):
    assert_printable(drawn[name][0])


def test_theme_leaves_the_settings_outside_alone(study):
    before = dict(mpl.rcParams)
    lipschitz.draw(study.fields, study.phases)
    assert dict(mpl.rcParams) == before


# The files


@pytest.mark.parametrize("name", ["lipschitz", "free_energy", "resolution_scan"])
def test_saving_twice_gives_the_same_bytes(drawn, tmp_path, name):
    first, again = saved(drawn[name], tmp_path / "first"), saved(drawn[name], tmp_path / "again")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert "<dc:date>" not in first[0].read_text()


def test_drawing_twice_gives_the_same_bytes(study, drawn, tmp_path):
    first = saved(drawn["metric"], tmp_path / "first")
    again = saved(metric.draw(study.metric, study.phases), tmp_path / "again")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_svg_keeps_text_as_outlines_and_surfaces_as_pixels(drawn, tmp_path):
    svg, png, _ = saved(drawn["free_energy"], tmp_path)
    text = svg.read_text()
    assert "<text" not in text  # outlines need no font
    assert "<image" in text  # the surface has thousands of faces
    assert svg.stat().st_size < 1_000_000
    with Image.open(png) as image:
        assert image.size == (1400, 620)  # 7 x 3.1 inches at 200 dpi


# The numbers beside the figures: what was passed in, to the ten digits written


def expected_columns(study):
    """Columns of each table that must equal an input, one entry per node."""
    label = study.phases["phases"]
    by_area = sorted(label, key=lambda phase: -phase["area"])
    _, measured, fitted, _, _ = make_sources(study)
    return {
        "free_energy": {"F_nats_per_N": flat(study, "free_energy")},
        "first_derivatives": {
            "dF_da_nats_per_N": flat(study, "gradient", 0),
            "dF_db_nats_per_N": flat(study, "gradient", 1),
        },
        "second_derivatives": {
            "F_aa_nats_per_N": flat(study, "fisher_metric", 0, 0),
            "F_ab_nats_per_N": flat(study, "fisher_metric", 0, 1),
            "F_bb_nats_per_N": flat(study, "fisher_metric", 1, 1),
        },
        "metric": {
            "log_determinant": study.metric["log_determinant"].to_numpy().ravel(),
            "log10_largest_eigenvalue": np.log10(study.metric["largest_eigenvalue"].to_numpy().ravel()),
            "positive_definite": study.metric["positive_definite"].to_numpy().ravel(),
            "response_difference": study.metric["response_difference"].to_numpy().ravel(),
            "antisymmetric_share": study.metric["antisymmetric_share"].to_numpy().ravel(),
        },
        "phases": {
            "label": [phase["label"] for phase in by_area],
            "area_share": [phase["area"] for phase in by_area],
            "medoid_sample": [phase["medoid"] for phase in by_area],
            "mean_dF_db_nats_per_N": [phase["mean_gradient"][1] for phase in by_area],
        },
        "posteriors": {
            "measured_probability": measured.ravel(),
            "fitted_probability": fitted.ravel(),
        },
        "lipschitz": {"lipschitz": study.fields["lipschitz"].to_numpy().ravel()},
        "resolution_scan": {name: make_scan()[name] for name in make_scan()},
        "error_bars": {
            "F_error_nats_per_N": flat(study, "free_energy_error"),
            "dF_da_error_nats_per_N": flat(study, "gradient_error", 0),
            "metric_error_nats_per_N": np.linalg.norm(
                study.energy["fisher_metric_error"].to_numpy().reshape(-1, 4), axis=1
            ),
        },
    }


# The mosaic has no numbers; distances are solved for, and have tests of their own.
@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("mosaic", "distances", "voronoi")])
def test_csv_holds_the_numbers_passed_in(study, drawn, tmp_path, name):
    *_, csv = saved(drawn[name], tmp_path)
    table = pd.read_csv(csv)
    for column, values in expected_columns(study)[name].items():
        # Ten significant digits are written, so half a unit of the tenth is the largest rounding.
        np.testing.assert_allclose(table[column], np.asarray(values), rtol=5e-10, err_msg=column)
    if "a" in table:
        nodes = np.tile(study.grid.points, (len(table) // study.grid.size, 1))
        np.testing.assert_allclose(table[["a", "b"]], nodes, rtol=5e-10, atol=1e-12)


def test_free_energy_is_drawn_without_its_gauge(study):
    plane = 3.0 - 0.7 * study.energy["a"] + 0.4 * study.energy["b"]
    moved = study.energy.assign(free_energy=study.energy["free_energy"] + plane)
    _, table = free_energy.draw(study.energy)
    _, other = free_energy.draw(moved)
    shown = table["F_affine_removed_nats_per_N"]
    # Planes ten times F: rounding of a least-squares solve, some 1e-15 of them.
    np.testing.assert_allclose(other["F_affine_removed_nats_per_N"], shown, atol=1e-13)
    assert abs(shown.mean()) < 1e-13
    assert abs((shown * table["a"]).mean()) < 1e-13


# Where things stand


def bright_cell(study, node):
    """The study's Lipschitz field, dark but for one node."""
    values = np.full(study.grid.shape, 0.01)
    values[node] = 1.0
    return study.fields.assign(lipschitz=(("a", "b"), values))


def test_a_bright_cell_is_seen_at_its_parameters(study):
    node = (5, 16)  # left of the middle, near the top
    a, b = study.grid.axes
    figure, _ = lipschitz.draw(bright_cell(study, node), NO_LINES)
    axes = figure.axes[0]
    bright = pixel_at(figure, axes, (a[5], b[16])).astype(int).sum()
    for other in ((a[16], b[5]), (a[5], b[-17]), (a[-6], b[16]), (a[5] + study.grid.spacing[0], b[16])):
        assert bright > 200 + pixel_at(figure, axes, other).astype(int).sum()
    image = axes.images[0]
    column, row = 5, 16  # rows upwards, columns to the right
    assert np.argmax(image.get_array()) == row * study.grid.shape[0] + column
    left, right, bottom, top = image.get_extent()
    assert left + (column + 0.5) * (right - left) / study.grid.shape[0] == pytest.approx(a[5])
    assert bottom + (row + 0.5) * (top - bottom) / study.grid.shape[1] == pytest.approx(b[16])
    assert image.origin == "lower"


def test_mosaic_puts_upright_images_at_their_nodes(study):
    images = np.zeros((study.grid.size, 10, 10, 3), dtype=np.uint8)
    sample = 3 * study.grid.shape[1] + 14
    images[sample, :5] = (255, 0, 0)  # the upper half red, the lower half blue
    images[sample, 5:] = (0, 0, 255)
    figure, table = draw_mosaic(images, study.grid, [], tiles=24)
    assert len(table) == study.grid.size
    row = table[table["sample"] == sample].iloc[0]
    a, b = study.grid.points[sample]
    assert (row["a"], row["b"], row["tile_column"], row["tile_row"]) == pytest.approx((a, b, 3, 14))
    quarter = study.grid.spacing[1] / 4
    axes = figure.axes[0]
    np.testing.assert_array_equal(pixel_at(figure, axes, (a, b + quarter)), (255, 0, 0))
    np.testing.assert_array_equal(pixel_at(figure, axes, (a, b - quarter)), (0, 0, 255))
    np.testing.assert_array_equal(pixel_at(figure, axes, (b, a)), (0, 0, 0))


@pytest.mark.parametrize("tiles", [1, 5, 7, 20])
def test_mosaic_shows_the_node_nearest_to_each_tile_centre(tiles):
    grid = Grid(((0.0, 1.9), (-1.0, 0.9)), (20, 20))
    images = np.zeros((grid.size, 4, 4, 1), dtype=np.uint8)
    figure, table = draw_mosaic(images, grid, [], tiles=tiles)
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert len(table) == tiles**2
    for low, high, along, place in ((left, right, "a", "tile_column"), (bottom, top, "b", "tile_row")):
        centre = low + (table[place] + 0.5) * (high - low) / tiles
        # Nearest: no farther than half a spacing; the rounding is of the sums above.
        assert (table[along] - centre).abs().max() <= 0.05 + 1e-12


def test_mosaic_shrinks_large_images_without_moving_them(monkeypatch):
    monkeypatch.setattr(mosaic, "CANVAS_PIXELS", 128)
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (2, 2))
    images = np.zeros((4, 256, 256, 1), dtype=np.uint8)
    images[3] = 200
    figure, _ = draw_mosaic(images, grid, [], tiles=2)
    canvas = figure.axes[0].images[0].get_array()
    assert canvas.shape == (mosaic.CANVAS_PIXELS, mosaic.CANVAS_PIXELS)
    half, gutter = mosaic.CANVAS_PIXELS // 2, mosaic.CANVAS_PIXELS // 2 // mosaic.GUTTER_SIDE
    inside = slice(gutter, half - gutter)
    np.testing.assert_array_equal(
        canvas[:half, half:][inside, inside], 200
    )  # node 3 is the upper right corner
    assert (canvas == 200).sum() == (half - 2 * gutter) ** 2
    assert set(np.unique(canvas)) == {0, mosaic.GUTTER_GREY, 200}


@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_shrunk_to_the_pixels_of_the_png(channels):
    study = make_study((4, 4), pixels=8, channels=channels)
    study.images = study.images.repeat(64, axis=1).repeat(64, axis=2)
    for figure, _ in (
        draw_phases(study.fields, study.phases, study.images),
        posteriors.draw(*make_sources(study)),
    ):
        pictures = [axes for axes in figure.axes if np.size(axes.images[0].get_array()) > 1000]
        assert pictures
        for axes in pictures:
            side = style.PNG_DPI * axes.get_position().width * figure.get_figwidth()
            shape = axes.images[0].get_array().shape
            assert max(shape[:2]) == pytest.approx(min(512, side), abs=1)  # whole pixels
            assert len(shape) == (2 if channels == 1 else 3)


def test_source_cross_and_posterior_stand_at_the_same_place(study):
    one = np.zeros((1, *study.grid.shape))
    one[0, 4, 15] = 1.0
    point = study.grid.points[[4 * study.grid.shape[1] + 15]]
    figure, table = posteriors.draw(study.images[:1], one, one, point, study.grid)
    measured = figure.axes[1]
    np.testing.assert_allclose(np.ravel(measured.lines[0].get_xydata()), point[0])
    assert np.argmax(measured.images[0].get_array()) == 15 * study.grid.shape[0] + 4
    assert table.loc[table["measured_probability"].idxmax(), ["a", "b"]].tolist() == pytest.approx(
        point[0].tolist()
    )


def test_boundaries_are_drawn_where_they_are_and_do_not_stretch_the_map(study):
    outside = [{"phases": [1, 2], "points": [[-5.0, 0.0], [0.5, 0.5], [9.0, 9.0]]}]
    figure, _ = lipschitz.draw(study.fields, {"boundaries": outside})
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), outside[0]["points"])
    left, right, bottom, top = style.pixel_extent(*study.grid.axes)
    assert axes.get_xlim() == (left, right)
    assert axes.get_ylim() == (bottom, top)


# What is said about cells that fail


def hatched_area(axes):
    """Area of the hatched rectangles of a map."""
    return sum(
        np.ptp(path.vertices[:, 0]) * np.ptp(path.vertices[:, 1])
        for collection in axes.collections
        if collection.get_hatch()
        for path in collection.get_paths()
    )


def test_failing_cells_are_hatched_and_counted(study):
    rng = np.random.default_rng(3)
    failed = rng.random(study.grid.shape) < 0.3
    hessian = study.energy["fisher_metric"].to_numpy().copy()
    hessian[failed, 0, 0] *= -1
    energy = study.energy.assign(fisher_metric=(study.energy["fisher_metric"].dims, hessian))
    figure, _ = second_derivatives.draw(energy, NO_LINES)
    cell = np.prod(study.grid.spacing)
    assert hatched_area(figure.axes[0]) == pytest.approx(failed.sum() * cell)
    assert hatched_area(figure.axes[2]) == 0
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any(f"in {failed.sum()} of {failed.size} cells" in text for text in texts)
    assert any("$F_{bb} \\leq 0$ in no cell" in text for text in texts)


def test_metric_counts_cells_that_are_not_positive_definite(study, drawn):
    figure, _ = drawn["metric"]
    failed = ~study.metric["positive_definite"].to_numpy()
    assert 0 < failed.sum() < failed.size
    for axes in figure.axes:
        assert hatched_area(axes) == pytest.approx(failed.sum() * np.prod(study.grid.spacing))
    said = f"not positive definite in {failed.sum()} of {failed.size} cells"
    assert any(said in text.get_text() for text in figure.findobj(Text))


def test_a_fit_without_errors_says_so(study):
    names = ("free_energy_error", "gradient_error", "fisher_metric_error")
    figure, table = error_bars.draw(
        study.energy.assign({name: study.energy[name] * np.nan for name in names})
    )
    said = [text for text in figure.findobj(Text) if text.get_text() == error_bars.ABSENT]
    assert len(said) == 3
    assert table["metric_error_nats_per_N"].isna().all()
    assert not any(axes.collections for axes in figure.axes[3:])  # no bands
    assert all(len(axes.lines) == 1 for axes in figure.axes[3:])


def test_bands_hold_95_per_cent_of_a_normal_error(study, drawn):
    figure, table = drawn["error_bars"]
    axes = figure.axes[5]  # F_aa
    cut = table[table["on_cut"]]
    vertices = axes.collections[0].get_paths()[0].vertices
    top = (cut["F_aa_nats_per_N"] + 1.959964 * cut["F_aa_error_nats_per_N"]).max()
    bottom = (cut["F_aa_nats_per_N"] - 1.959964 * cut["F_aa_error_nats_per_N"]).min()
    assert vertices[:, 1].max() == pytest.approx(top, rel=1e-6)
    assert vertices[:, 1].min() == pytest.approx(bottom, rel=1e-6)
    assert cut["b"].nunique() == 1


def test_relative_errors_above_the_maps_do_not_move_with_the_gauge(study):
    plane = 50.0 * study.energy["a"] - 20.0
    slope = xr.DataArray([50.0, 0.0], dims="i")
    moved = study.energy.assign(
        free_energy=study.energy["free_energy"] + plane, gradient=study.energy["gradient"] + slope
    )

    def said(dataset):
        figure, _ = error_bars.draw(dataset)
        return [text.get_text() for text in figure.findobj(Text) if "relative" in text.get_text()]

    assert len(said(study.energy)) == 3
    assert said(moved) == said(study.energy)


# Phases, posteriors and the scan


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (3, 3), (20, 12)])
def test_phases_from_one_to_twenty(count, shown):
    fields, described, images = make_patchwork(count)
    figure, table = draw_phases(fields, described, images)
    assert len(figure.axes) == 1 + shown
    assert len(table) == count
    assert table["area_share"].is_monotonic_decreasing
    assert table["area_share"].sum() == pytest.approx(1.0)
    largest = described["phases"][int(np.argmax([phase["area"] for phase in described["phases"]]))]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), images[largest["medoid"]][..., 0])
    frames = [axes.spines["left"].get_edgecolor() for axes in figure.axes[1:]]
    assert len(set(frames)) == shown


def test_phase_number_and_colour_stand_in_their_phase():
    fields, described, images = make_patchwork(7)
    figure, _ = draw_phases(fields, described, images)
    axes = figure.axes[0]
    frame = {other.get_title().split(":")[0]: other for other in figure.axes[1:]}
    numbers = {text.get_text(): text.get_position() for text in axes.texts if text.get_text().isdigit()}
    assert set(numbers) == set(frame) == {str(k) for k in range(1, 8)}
    for name, (a, b) in numbers.items():
        assert int(fields["label"].sel(a=a, b=b)) == int(name)
        image = axes.images[0]
        shown = image.cmap(image.norm(int(name) - 1))
        assert shown == pytest.approx(frame[name].spines["top"].get_edgecolor())


def test_triple_points_are_ringed(study, drawn):
    figure, _ = drawn["phases"]
    rings = [line for line in figure.axes[0].lines if line.get_label() == "triple point"]
    np.testing.assert_allclose(rings[0].get_xydata(), [study.phases["triple_points"][0]["point"]])


def test_total_variation_is_zero_for_equals_and_one_for_disjoint(study):
    images, measured, _, points, grid = make_sources(study, 2)
    fitted = measured.copy()
    measured[1], fitted[1] = 0.0, 0.0
    measured[1, 0, 0] = fitted[1, 5, 5] = 1.0
    figure, table = posteriors.draw(images, measured, fitted, points, grid)
    distance = table.groupby("source")["total_variation"].first()
    assert distance.tolist() == pytest.approx([0.0, 1.0])
    titles = [axes.get_title() for axes in figure.axes]
    assert "fitted, TV 0.000" in titles
    assert "fitted, TV 1.000" in titles


def test_both_posteriors_of_a_source_share_their_colours(drawn):
    figure, _ = drawn["posteriors"]
    for source in range(6):
        _, measured, fitted = figure.axes[3 * source : 3 * source + 3]
        assert measured.images[0].get_clim() == fitted.images[0].get_clim()


def test_more_than_six_sources_make_a_second_band(study):
    figure, _ = posteriors.draw(*make_sources(study, 8))
    one, _ = posteriors.draw(*make_sources(study, 6))
    assert figure.get_figheight() == pytest.approx(2 * one.get_figheight())
    assert len(figure.axes) == 3 * 8


def test_scan_leaves_out_what_is_missing_and_marks_the_choice():
    table = make_scan().drop(columns=["phases", "total_variation"]).sample(frac=1, random_state=0)
    figure, shown = resolution_scan.draw(table)
    panels = figure.axes
    assert len(panels) == 5
    assert shown["N"].is_monotonic_increasing
    assert "phases" not in shown
    for axes in panels:
        marks = [line for line in axes.lines if line.get_label() == "chosen $N$"]
        assert [line.get_xdata()[0] for line in marks] == [200.0]
        filled = [line for line in axes.lines if line.get_markersize() == 5]
        assert all(line.get_xdata().tolist() == [200.0] for line in filled)


# Scales


@pytest.mark.parametrize("low", [3e-7, 0.0021, 0.4, 1.0, 77.0, 5.3e5])
@pytest.mark.parametrize("span", [1.6, 3.0, 9.0, 40.0, 1e3, 1e9])
def test_log_ticks_are_few_and_inside(low, span):
    ticks = style.log_ticks(low, low * span, 4)
    assert 2 <= len(ticks) <= 8
    assert low <= ticks[0]
    assert ticks[-1] <= low * span
    assert np.all(np.diff(ticks) > 0)


def test_signed_scale_is_centred_on_zero_only_where_both_signs_count():
    values = np.linspace(-0.2, 0.3, 400).reshape(20, 20)
    cmap, norm = style.signed_scale(values)
    assert cmap == style.DIVERGING
    assert norm(0.0) == pytest.approx(0.5)
    cmap, norm = style.signed_scale(values + 0.25)
    assert cmap == style.SEQUENTIAL
    assert norm.vmin >= 0.05


@pytest.mark.parametrize("fill", [0.0, 2.5, np.nan])
def test_constant_and_empty_fields_are_drawn(study, fill):
    constant = xr.full_like(study.energy, fill)
    gradient, _ = first_derivatives.draw(constant, study.phases)
    hessian, _ = second_derivatives.draw(constant, study.phases)
    for figure in (gradient, hessian):
        pixels, _ = rendered(figure)
        assert pixels[..., :3].std() > 0
    failed = 0 if fill > 0 else study.grid.size
    assert hatched_area(hessian.axes[0]) == pytest.approx(failed * np.prod(study.grid.spacing))


# Bad input


def test_bad_input_is_named(study):
    nodes = mosaic.tile_nodes(study.grid, (8, 8, 1), tiles=4)
    with pytest.raises(ValueError, match=r"480 images do not fill \(4, 4\) tiles"):
        mosaic.draw(study.images, nodes, study.grid, [])
    with pytest.raises(ValueError, match="tiles is 0"):
        mosaic.tile_nodes(study.grid, (8, 8, 1), tiles=0)
    with pytest.raises(ValueError, match="2 channels"):
        draw_mosaic(np.repeat(study.images, 2, axis=-1), study.grid, [], tiles=4)
    with pytest.raises(ValueError, match="'gradient' is not in the dataset"):
        first_derivatives.draw(study.energy.drop_vars("gradient"), NO_LINES)
    with pytest.raises(ValueError, match=r"labels \[3\] of the map"):
        draw_phases(study.fields, study.phases | {"phases": study.phases["phases"][:2]}, study.images)
    with pytest.raises(ValueError, match="480 medoids do not show the 3 largest phases"):
        phases.draw(study.fields, study.phases, study.images)
    images, measured, fitted, points, grid = make_sources(study)
    with pytest.raises(ValueError, match="6 sources on a grid"):
        posteriors.draw(images[:5], measured, fitted, points, grid)
    with pytest.raises(ValueError, match="needs N, chosen"):
        resolution_scan.draw(make_scan().drop(columns="chosen"))
