"""The zoom of a study: its series, what its jobs depend on, and the digits' model as a map of real values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from printed import assert_printable, assert_whole, said

from hessgeo.features import load_embedding
from hessgeo.features.continuous import continued
from hessgeo.figures import style, zoom_film, zoom_scales, zoom_strip
from hessgeo.grids import Grid
from hessgeo.models.digit_clip import build_clip, save_clip
from hessgeo.models.digit_diffusion import build_unet
from hessgeo.numerics.precision import in_precision
from hessgeo.phases.zoomed import ZoomedMap, nearest_reference
from hessgeo.pipeline.config_files import SettingsError
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.settings import merged, read_settings
from hessgeo.pipeline.zoom import (
    describe_boundary,
    describe_window,
    pixel_values,
    starting_pairs,
    window_numbers,
    window_of,
)
from hessgeo.pipeline.zoom_layout import Series, zoom_widths
from hessgeo.pipeline.zoom_verdicts import judge_series, windows_shown, zoom_table
from hessgeo.store.films import write_gif
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.real_images import real_images, to_precision
from hessgeo.systems.diffusion.system import load_denoiser
from hessgeo.systems.slices import LatentSlice

GRID = Grid(((-1.0, 2.0), (-1.0, 2.0)), (20, 16))
PHASES = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}


@pytest.fixture
def zoom(config, tmp_path):
    """The zoom of the digits with changes of its settings."""
    settings = read_settings(config)

    def make(**change):
        study = merged(settings.studies["digits"], change)
        return Layout(replace(settings, studies={"digits": study}), tmp_path).of("digits").zoom

    return make


def test_windows_shrink_by_the_factor_down_to_the_smallest():
    assert zoom_widths(0.1, 13, 1e-8) == pytest.approx([10.0**-k for k in range(9)])
    assert len(zoom_widths(0.1, 5, 1e-8)) == 5


def test_a_series_for_every_precision_and_for_further_steps_of_the_first(zoom):
    found = zoom(zoom={"precisions": ["float32", "float16"], "steps": [25, 50]})
    assert [series.name for series in found.series] == ["float32-25", "float16-25", "float32-50"]
    assert all(Series.named(series.name) == series for series in found.series)
    assert len(found.windows()) == 27
    assert len(zoom().widths(Series("float64", 25))) == 13
    assert len(set(zoom().targets)) == len(zoom().targets)


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ({"slice": {"interpolation": "spherical"}}, "slice.interpolation linear"),
        ({"sampling": {"design": "sobol", "count": 64}}, "an image on every node"),
        ({"sampling": {"grid": [64]}, "slice": {"extent": [[-1, 2]]}}, "an image on every node"),
        ({"embedding": {"kind": "network"}}, "embedding.kind is network"),
        ({"embedding": {"size": 16}}, "shrunk in eight bits, not 16"),
        ({"system": {"kind": "generator"}}, "system.kind is generator"),
        (
            {"system": {"scheduler": "EulerDiscreteScheduler"}},
            "without float64 for the sampler EulerDiscrete",
        ),
    ],
)
def test_what_has_no_real_latents_on_a_plane_has_no_zoom(zoom, change, need):
    found = zoom(**change)
    assert found.targets == []
    assert need in found.need


def test_a_zoom_that_cannot_be_is_refused_where_it_is_asked_for_and_named_where_not(config, tmp_path):
    scattered = {"sampling": {"design": "sobol", "count": 4096}}
    layout = Layout(
        read_settings(merged(config, {"run": ["digits", "sown"], "studies": {"sown": scattered}})), tmp_path
    )
    assert layout.zoom_words.startswith("The zoom of digits is complete; sown has none: it needs an image on")
    asked = {"studies": {"digits": {**scattered, "zoom": {"levels": 3}}}}
    with pytest.raises(
        SettingsError, match=r"studies\.digits\.zoom\.levels: 3 is not allowed; .* every node"
    ) as refused:
        read_settings(merged(config, asked))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("family", ["small_stable_diffusion", "small_stable_diffusion_3"])
def test_a_model_of_latents_is_decoded_in_the_precision_that_it_runs_in(small_checkpoint, family):
    checkpoint = describe_checkpoint(small_checkpoint(family))
    latents = torch.randn(3, *checkpoint.latent_shape, generator=torch.Generator().manual_seed(0))
    seen = {}
    for precision in ("float64", "float32", "float16", "bfloat16"):
        denoiser = load_denoiser(checkpoint, steps=3)
        if precision == "float32":
            rounded = denoiser.decode(denoiser.denoise(latents))
        to_precision(denoiser, getattr(torch, precision))
        clean = denoiser.denoise(latents)
        assert clean.dtype == getattr(torch, precision)
        seen[precision] = pixel_values(real_images(denoiser, clean.double().numpy()))
    np.testing.assert_array_equal(np.rint(255 * seen["float32"]), rounded)
    apart = {name: np.abs(seen[name] - seen["float64"]).max() for name in seen}
    # A rounding of the precision, grown by some hundred layers in three steps.
    assert 0 < apart["float32"] < 1e-4
    assert apart["float32"] < apart["float16"] < apart["bfloat16"] < 0.2


def test_pairs_lie_across_the_steepest_boundary_or_the_nearest():
    a, b = GRID.points.T
    embedding = np.stack([np.tanh(9 * (a - 0.3)) + 0.2 * (b > 1), np.zeros(GRID.size)], axis=1)
    label = 1 + (a > 0.3) + 2 * (b > 1)
    starts, ends = starting_pairs(embedding, label, GRID, "sharpest", margin=0.05)
    assert np.all((starts[:, 0] < 0.3) & (ends[:, 0] > 0.3))
    np.testing.assert_allclose(ends[:, 0] - starts[:, 0], 3 * GRID.spacing[0])
    start, end = starting_pairs(embedding, label, GRID, (-0.5, 1.1), margin=0.05)
    assert start[0, 1] < 1 < end[0, 1]
    with pytest.raises(ValueError, match="no boundary to zoom on"):
        starting_pairs(embedding, np.ones(GRID.size, dtype=int), GRID, "sharpest", margin=0.05)


@pytest.fixture(scope="module")
def cascade():
    """A map with a boundary of known slope, over windows of two precisions: what the jobs of a zoom make."""
    plane = LatentSlice(
        np.array([[[[0.0]], [[0.0]]], [[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]]), GRID.extent, "none"
    )

    def generate(z):
        x = np.tanh(50 * (z[:, 0, 0, 0] + 0.2 * z[:, 1, 0, 0] - 0.41))
        return np.stack([x, -x], axis=1)[:, :, None, None]

    windows, boundaries = [], {}
    for precision, widths in (
        ("float64", zoom_widths(0.1, 10, 1e-9)),
        ("float32", zoom_widths(0.1, 9, 1e-8)),
    ):
        zoomed = ZoomedMap(plane, generate, lambda x: x[:, :, 0, 0], precision)
        boundary = describe_boundary(
            zoomed, np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([[0.1, 0.2]]), np.array([[0.6, 0.3]])
        )
        boundaries[f"{precision}-25"] = boundary
        for level, width in enumerate(widths):
            window = window_of(boundary, GRID.extent, level, width)
            found = describe_window(zoomed, boundary, window, {"grid": [32, 32], "images": 5}, PHASES)
            windows.append((f"{precision}-25", found))
    return windows, boundaries


def test_a_slope_saturates_and_a_precision_ends_it(cascade):
    windows, boundaries = cascade
    verdicts = judge_series(zoom_table(windows, boundaries), boundaries)
    for name, found in verdicts.items():
        law = found["lipschitz"]["embedding_per_parameter"]
        # The steepest of four directions lies 45 - 11.3 degrees from the normal, or 11.3: along a.
        assert law["verdict"] == "saturates", name
        assert law["value"] == pytest.approx(50 * np.sqrt(2), rel=0.02)
        assert found["boundary"]["verdict"] == "smooth"
    assert verdicts["float32-25"]["boundary"]["resolved"] < verdicts["float64-25"]["boundary"]["resolved"]
    limit = verdicts["float32-25"]["lipschitz"]["embedding_per_parameter"]["limit"]
    assert 1e-7 < limit < 1e-4


def test_windows_are_kept_side_by_side(cascade):
    shown = windows_shown(cascade[0], zoom_table(*cascade))
    assert dict(shown.sizes) == {
        "window": 19,
        "a": 32,
        "b": 32,
        "ta": 5,
        "tb": 5,
        "y": 1,
        "x": 1,
        "channel": 2,
        "axis": 2,
    }
    assert window_numbers(cascade[0][3][1])["width"] == pytest.approx(1e-3)
    assert shown["width"].to_numpy()[:3] == pytest.approx([1, 0.1, 0.01])


def test_half_precision_rounds_products_once():
    torch.manual_seed(0)
    network = in_precision(build_unet([16, 32]), torch.bfloat16)
    x, weight = torch.randn(2, 1, 8, 8, dtype=torch.bfloat16), network.conv_in.weight
    exact = torch.nn.functional.conv2d(x.double(), weight.double(), network.conv_in.bias.double(), padding=1)
    found = network.conv_in(x)
    assert found.dtype == torch.bfloat16
    # One rounding to eight bits of a sum in single precision.
    assert (found.double() - exact).abs().max() <= 2.0**-8 * exact.abs().max()
    assert network(x, 10).sample.dtype == torch.bfloat16


@pytest.mark.parametrize(("precision", "error"), [("float64", 1e-6), ("float32", 1e-6), ("bfloat16", 0.05)])
def test_a_continued_embedding_is_that_of_images_where_both_are(tmp_path, precision, error):
    torch.manual_seed(0)
    save_clip(tmp_path, build_clip(width=32, layers=1, dimension=16))
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    embedding = load_embedding(defaults("study")["embedding"], tmp_path, (8, 8, 1), device="cpu")
    expected = embedding(images)
    found = continued(embedding, getattr(torch, precision))(images / 255)
    np.testing.assert_allclose(found, expected, atol=error)
    assert nearest_reference(found)(found).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def drawn(cascade):
    """Both figures of the cascade, with images of one channel."""
    windows, boundaries = cascade
    table = zoom_table(windows, boundaries)
    verdicts = judge_series(table, boundaries)
    shown = windows_shown(windows, table).isel(channel=[0])
    return {"zoom_strip": zoom_strip.draw(shown, verdicts), "zoom_scales": zoom_scales.draw(table, verdicts)}


@pytest.mark.parametrize("name", ["zoom_strip", "zoom_scales"])
def test_a_figure_states_its_verdicts_and_fits_its_page(drawn, name):
    figure, table = drawn[name]
    assert len(table) == 19
    assert_whole(figure)
    assert_printable(figure)
    assert figure.get_figwidth() == style.DOUBLE_COLUMN
    assert said(figure).count("Lipschitz constant saturates") == 2
    assert "smooth in" in said(figure)


def test_a_film_grows_from_one_window_into_the_next(cascade, tmp_path):
    shown = windows_shown(cascade[0][:3], zoom_table(cascade[0][:3], cascade[1])).isel(channel=[0])
    film = list(zoom_film.frames(shown, "float64-25"))
    assert len(film) == 3 * zoom_film.HOLD + 2 * (zoom_film.FRAMES - 1)
    write_gif(tmp_path / "film.gif", film, milliseconds=70)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames > 2 * (zoom_film.FRAMES - 1)  # alike ones are one that lasts
        assert gif.size == film[0].shape[1::-1]
    with pytest.raises(ValueError, match="no window of the series float16-25"):
        next(zoom_film.frames(shown, "float16-25"))
