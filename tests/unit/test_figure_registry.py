"""The registry of figures is all there is to know of a figure: its module, its caption and its inputs fit it."""

from importlib import import_module
from inspect import Parameter, signature
from types import SimpleNamespace

import docutils.core
import jinja2
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hessgeo.figures import registry
from hessgeo.figures.saving import draw_and_save, verdict_of
from hessgeo.pipeline.code import Code
from hessgeo.pipeline.figures import ANCHORS, ARRAYS, RESULTS, SETTINGS
from hessgeo.pipeline.study_layout import StudyLayout

OF_STUDIES = (
    *registry.STUDY,
    *registry.PATHS,
    *registry.HISTORY,
    *registry.STABILITY,
    *registry.ZOOM,
    *registry.SAFETY,
    *registry.MORPH,
    *registry.REFINEMENT,
    *registry.PAPER,
)
OF_SOLVABLE = (*registry.SOLVABLE, *registry.PAPER_SOLVABLE)
FIGURES = (
    *OF_STUDIES,
    registry.COMPARISON,
    registry.HISTORIES,
    registry.DIFFERENCES,
    registry.NOISE,
    *OF_SOLVABLE,
    *registry.DENSITY,
)
NAMES = [figure.name for figure in FIGURES]
# These show none of its equations.
NOT_OF_THE_PAPER = {"coordinates", "inversion", "lipschitz", "mosaic", "phases", "voronoi"}
OF_THE_PAPER = {figure.name for figure in (*registry.STUDY, *registry.PATHS)} - NOT_OF_THE_PAPER | {
    "workflow"
}


def test_every_module_that_draws_is_in_the_registry_once(repository):
    folder = repository / "hessgeo" / "figures"
    drawing = {path.stem for path in folder.glob("*.py") if "\ndef draw(" in path.read_text()}
    # The overview is drawn of studies in Python alone.
    assert sorted([*NAMES, "overview"]) == sorted(drawing)


@pytest.mark.parametrize("figure", FIGURES, ids=NAMES)
def test_its_module_takes_what_the_registry_says(figure):
    module = import_module(f"hessgeo.figures.{figure.name}")
    taken = signature(getattr(module, "gather", module.draw)).parameters.values()
    results = [one.name for one in taken if one.kind is not Parameter.KEYWORD_ONLY]
    settings = [one.name for one in taken if one.kind is Parameter.KEYWORD_ONLY]
    # Results of solvable systems come together, a case each.
    assert len(results) == (1 if figure in OF_SOLVABLE else len(figure.reads))
    assert settings == list(figure.settings)


@pytest.mark.parametrize("figure", OF_STUDIES, ids=lambda figure: figure.name)
def test_a_study_has_what_its_figures_read(figure):
    assert set(figure.reads) <= {*RESULTS, *ARRAYS, *ANCHORS}
    assert all(name in SETTINGS or hasattr(StudyLayout, name) for name in figure.settings)
    assert figure.needs is None or hasattr(StudyLayout, figure.needs)


@pytest.mark.parametrize("name", [*NAMES, "path_table", "solvable_table", "workflow"])
def test_its_caption_can_be_read_and_names_its_study(repository, name):
    source = (repository / "workflow" / "report" / f"{name}.rst").read_text(encoding="utf-8")
    wildcards = SimpleNamespace(study="some_study", comparison="some_comparison")
    text = jinja2.Template(source, undefined=jinja2.StrictUndefined).render(
        snakemake=SimpleNamespace(wildcards=wildcards)
    )
    # Level 2 are warnings: a caption that docutils doubts is a caption misread.
    body = docutils.core.publish_parts(text, writer="html5", settings_overrides={"halt_level": 2})["body"]
    assert "some_study" in body or name not in [figure.name for figure in OF_STUDIES]
    assert "ICML 2025" in body or name not in OF_THE_PAPER


def test_another_figure_s_module_makes_none_due(repository):
    files = Code(repository).files("draw_figure.py", {"hessgeo.figures": ["metric"]})
    read = {path.stem for path in files if path.parent.name == "figures"}
    assert read == {"__init__", "metric", "style", "look", "saving", "thumbnails"}


def test_the_verdict_is_that_of_the_first_result_that_has_one():
    fit = xr.Dataset(attrs={"verdict": "kinks"})
    assert verdict_of(pd.DataFrame(), fit, {"verdict": "resolved"}) == "kinks"
    assert verdict_of(pd.DataFrame(), np.zeros(3), grid=None) == "resolved"


def test_a_figure_is_drawn_of_what_is_gathered_and_bears_its_own_verdict(monkeypatch):
    saved = []
    monkeypatch.setattr(
        "hessgeo.figures.saving.save_figure", lambda *all, **marks: saved.append((all, marks))
    )
    plain = SimpleNamespace(draw=lambda table, *, side: (side, table))
    output = SimpleNamespace(svg="svg", png="png", csv="csv")
    draw_and_save(plain, ["rows"], {"side": 3}, output)
    chosen = SimpleNamespace(
        draw=lambda total: ("figure", total),
        gather=lambda values, *, factor: {"total": factor * sum(values)},
        verdict=lambda values, *, factor: f"{len(values)} values, {factor} times",
    )
    draw_and_save(chosen, [[1, 2]], {"factor": 5}, output)
    assert saved == [
        ((3, "rows", "svg", "png", "csv"), {"verdict": "resolved"}),
        (("figure", 15, "svg", "png", "csv"), {"verdict": "2 values, 5 times"}),
    ]
