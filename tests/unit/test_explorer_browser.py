"""The explorer's page in a real browser: what is seen at a node, geodesics between clicks, layers, keys, addresses."""

import dataclasses

import explored
import numpy as np
import pytest
import xarray as xr
from browser import Watched, browser, chromium

from hessgeo.explorer import assemble
from hessgeo.explorer.layers import palette

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium (as .ci/run does)"),
]

GRID = explored.GRID
PAIRS = [((-0.8, 0.2), (1.7, 1.8)), ((-0.5, 1.7), (1.5, 0.1)), ((0.9, 1.9), (1.9, 0.3))]


@pytest.fixture(scope="module")
def solved():
    found = explored.solved(*zip(*PAIRS, strict=True))
    assert bool(found.certified.all())
    return found


@pytest.fixture(scope="module")
def address(solved, tmp_path_factory):
    paths = xr.Dataset(
        {
            "points": (("method", "pair", "point", "i"), solved.points.numpy()[None]),
            "own_length": (("method", "pair"), solved.length.numpy()[None]),
            "certified": (("method", "pair"), np.ones((1, len(PAIRS)))),
        },
        {"method": ["fisher"]},
    )
    page = tmp_path_factory.mktemp("explorer") / "explore.html"
    content = dataclasses.replace(explored.content(history=True), geodesics=paths)
    page.write_text(assemble(content), encoding="utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture
def shown(opened, address):
    """The page, as it is opened; nothing went wrong in it, and it asked for nothing."""
    page = Watched(opened).open(address)
    yield page
    assert page.errors == []
    assert page.outside == []
    page.context.close()


def click(shown, t):
    u = (np.array(t) - np.array(GRID.extent)[:, 0]) / np.array(GRID.spacing)
    shown.page.mouse.click(*shown.pixel(*u))


def told(shown):
    """Numbers beside the map, by name."""
    names, values = (shown.page.locator(f"#numbers {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return {name: value.replace("\u2212", "-") for name, value in zip(names, values, strict=True)}


def first(words):
    return float(words.split(" ± ")[0].rstrip(","))


def test_pointing_shows_the_image_and_the_numbers_of_the_node(shown):
    free_energy, _, phases = explored.fields()
    for i, j in ((3, 2), (12, 9), (16, 0)):
        shown.page.mouse.move(*shown.pixel(i, j))
        shown.settled()
        words = told(shown)
        assert [float(part) for part in words["a, b"].split(",")] == pytest.approx(
            [GRID.axes[0][i], GRID.axes[1][j]], rel=1e-3, abs=1e-9
        )
        assert int(words["phase"]) == int(phases["label"][i, j])
        assert first(words["F"]) == pytest.approx(float(free_energy["free_energy"][i, j]), rel=1e-4)
        assert float(words["F"].split(" ± ")[1]) == pytest.approx(0.01)
        for name, p, q in (("g aa", 0, 0), ("g ab", 0, 1), ("g bb", 1, 1)):
            assert first(words[name]) == pytest.approx(
                float(free_energy["fisher_metric"][i, j, p, q]), rel=6e-3, abs=1e-4
            )
        # The first two pixels of the image are the indices of its node.
        read = "(x) => document.getElementById('image').getContext('2d').getImageData(x, 30, 1, 1).data[0]"
        assert [shown.ask(read, x) for x in (30, 110)] == [15 * i, 15 * j]


def test_posteriors_are_those_of_the_fit_and_of_the_embedding(shown):
    from hessgeo.evaluation.posterior_rows import fitted_rows
    from hessgeo.posteriors import posterior_rows

    row = 7 * GRID.shape[1] + 5
    shown.page.mouse.move(*shown.pixel(7, 5))
    shown.settled()
    free_energy = explored.fields()[0]
    fitted = fitted_rows(free_energy, GRID.points, np.array([row]), GRID)[0]
    measured = posterior_rows(
        explored.embedding(), np.array([row]), kernel="gaussian", resolution=explored.RESOLUTION
    )[0]
    for name, p in (("fitted", fitted), ("measured", measured)):
        words = shown.page.locator(f"#{name}-mean").inner_text().replace("\u2212", "-")
        found = [float(part) for part in words.removeprefix("mean ").split(",")]
        assert found == pytest.approx((p @ GRID.points).tolist(), rel=6e-3, abs=2e-3)
    rows = shown.ask("(row) => [...window.explorer.study.measured.of(row)]", row)
    assert np.argmax(rows) == measured.argmax()


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_two_clicks_draw_the_geodesic_between_them(shown, solved, pair):
    assert not shown.page.locator("#strips").is_visible()
    for t in PAIRS[pair]:
        click(shown, t)
    shown.settled()
    found = shown.ask("() => ({ ...window.explorer.found })")
    starts = [shown.ask("(t) => window.explorer.study.nodes.place(t)", list(t)) for t in PAIRS[pair]]
    # A click is at a whole pixel: ends, and with them the length, are off by as much.
    assert np.abs(np.array([found["path"][:2], found["path"][-2:]]) - starts).max() < 0.03
    # A path between others is no shorter but for that.
    assert found["length"] == pytest.approx(float(solved.length[pair]), rel=0.01)
    assert found["straight"] >= found["length"]
    assert shown.page.locator("#strips").is_visible()
    assert float(shown.page.locator("#length").inner_text().split(" ")[0]) == pytest.approx(
        found["length"], rel=1e-3
    )


def test_a_pair_of_the_study_is_set_beside_its_certified_path(shown, solved):
    shown.page.select_option("#pairs", "1")
    shown.settled()
    found = shown.ask("() => ({ ...window.explorer.found })")
    assert found["length"] == pytest.approx(float(solved.length[1]), rel=1e-3)
    assert found["kept"]["length"] == pytest.approx(float(solved.length[1]), rel=1e-6)
    assert "certified" in shown.page.locator("#own").inner_text()
    shown.page.select_option("#metric", "embedding")
    # Flat, on a box of 3 to 2 that is made a square by nothing: the straight line.
    found = shown.ask("() => ({ ...window.explorer.found })")
    assert found["length"] == pytest.approx(np.hypot(2.0, 1.6), rel=1e-4)


def test_layers_have_the_colours_of_their_values(shown):
    read = """([x, y]) => { const { below, ratio } = window.explorer.map;
      return [...below.getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data].slice(0, 3); }"""
    shown.page.uncheck("#lines")
    for layer in shown.ask("() => window.explorer.data.layers.map(({ values, ...about }) => about)"):
        shown.page.select_option("#layer", layer["key"])
        shown.settled()
        assert shown.page.locator("#scale-title").inner_text().startswith(layer["title"])
        seen = shown.ask(read, shown.ask("() => window.explorer.map.toPixel([4, 3])"))
        values = shown.ask(
            "(key) => [...window.explorer.study.valuesOf(window.explorer.data.layers.find((one) => one.key === key))]",
            layer["key"],
        )
        value = values[-GRID.size :][4 * GRID.shape[1] + 3]
        if layer["scale"] == "phases":
            phases = shown.ask("() => window.explorer.data.phases")
            assert seen == next(phase["colour"] for phase in phases if phase["label"] == value)
        else:
            low, high = layer["low"], layer["high"]
            scaled = np.log([value, low, high]) if layer["scale"] == "log" else np.array([value, low, high])
            share = np.clip((scaled[0] - scaled[1]) / (scaled[2] - scaled[1]), 0, 1)
            near = palette(layer["palette"])[[int(np.floor(255 * share)), int(np.ceil(255 * share))]]
            assert any(np.array_equal(seen, colour) for colour in near)


def test_time_has_a_slider(shown):
    assert not shown.page.locator("#time").is_visible()
    shown.page.select_option("#layer", "history")
    assert shown.page.locator("#step-words").inner_text() == "step 2 of 2, noise level 0.1"
    shown.page.locator("#step").fill("0")
    shown.settled()
    assert shown.page.locator("#step-words").inner_text() == "step 1 of 2, noise level 2"


def test_samples_that_are_no_grid_are_found_by_the_nearest(opened, tmp_path):
    file = tmp_path / "explore.html"
    file.write_text(assemble(explored.scattered_content()), encoding="utf-8")
    page, t = Watched(opened).open(file.as_uri()), explored.scattered()
    read = "() => document.getElementById('image').getContext('2d').getImageData(30, 30, 1, 1).data[0]"
    for i, j in ((4, 8), (13, 3)):
        page.page.mouse.move(*page.pixel(i, j))
        page.settled()
        node = [GRID.axes[0][i], GRID.axes[1][j]]
        nearest = int(np.argmin((((t - node) / np.array(GRID.spacing)) ** 2).sum(axis=1)))
        assert page.ask(read) == nearest
        words = [float(part) for part in told(page)["a, b"].split(",")]
        assert words == pytest.approx(t[nearest].tolist(), rel=1e-3, abs=1e-4)
    assert page.errors == []
    page.context.close()


def test_windows_of_a_zoom_are_gone_through(shown):
    shown.page.locator("#zoom-level").fill("1")
    words = shown.page.locator("#zoom-words").inner_text()
    assert words == "0.1 of the box, about 0.25, 0.5: below what this precision resolves"
    read = """([x, y]) => [...document.getElementById('zoom-labels').getContext('2d').getImageData(x, y, 1, 1).data]"""
    colours = {phase["label"]: phase["colour"] for phase in shown.ask("() => window.explorer.data.phases")}
    labels = explored.windows()["label"].to_numpy()[1]
    assert shown.ask(read, [2, 0])[:3] == colours[labels[2, 2]]
    assert shown.ask(read, [0, 1])[:3] == colours[labels[0, 1]]
    shown.page.select_option("#series", "float16-25")
    assert shown.page.locator("#zoom-words").inner_text() == "1 of the box, about 0.5, 1"


def test_it_opens_at_the_most_typical_image_of_the_largest_phase(shown):
    phases = {phase["medoid"]: phase for phase in explored.content().found["phases"]}
    row = max(phases, key=lambda medoid: phases[medoid]["area"])
    shown.settled()
    place = [float(word) for word in told(shown)["a, b"].split(", ")]
    assert place == pytest.approx(GRID.points[row], rel=1e-3)
    assert told(shown)["phase"] == str(phases[row]["label"])
    assert shown.ask("() => location.hash") == ""


def test_keys_move_and_set_points_and_the_address_keeps_what_is_shown(shown, opened, address):
    shown.ask("() => window.explorer.hover([8, 6])")
    shown.page.locator("#above").focus()
    for key in (
        "ArrowRight",
        "ArrowRight",
        "ArrowUp",
        "Enter",
        "Shift+ArrowLeft",
        "Shift+ArrowDown",
        "Enter",
        "]",
    ):
        shown.page.keyboard.press(key)
    shown.page.wait_for_timeout(250)
    state = shown.ask("() => window.explorer.state")
    assert state["a"] == pytest.approx([GRID.axes[0][10], GRID.axes[1][7]])
    assert state["b"] == pytest.approx([GRID.axes[0][5], GRID.axes[1][2]])
    assert state["layer"] == "F"
    hash_ = shown.ask("() => location.hash")
    assert "layer=F" in hash_
    again = Watched(opened).open(address + hash_)
    lengths = [page.ask("() => window.explorer.found.length") for page in (shown, again)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
    again.context.close()
    shown.page.keyboard.press("Escape")
    assert shown.ask("() => window.explorer.found") is None


def test_an_address_that_names_what_is_not_there_shows_the_default(opened, address):
    page = Watched(opened).open(address + "#layer=nothing&a=1,x&metric=../x&step=-3&view=0,0,nan")
    state = page.ask("() => window.explorer.state")
    assert (state["layer"], state["a"], state["metric"], state["view"]) == ("phase", None, "fisher", None)
    assert page.errors == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_all_of_it_in_its_width(opened, address, scheme):
    page = Watched(opened, 390, 844, color_scheme=scheme, has_touch=True, is_mobile=True).open(address)
    x, y = page.pixel(12, 9)
    page.page.touchscreen.tap(x, y)
    page.settled()
    assert told(page)["phase"] == "2"
    assert page.ask("() => window.explorer.state.a") is not None
    assert page.ask("() => document.scrollingElement.scrollWidth") <= 390
    ground = page.ask("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") == (scheme == "dark")
    assert page.errors == []
    page.context.close()


def test_the_browser_says_when_it_first_painted(shown):
    painted = shown.ask("() => performance.getEntriesByType('paint').map((entry) => entry.startTime)")
    assert len(painted) == 2
    assert min(painted) > 0
