"""The target explore on the tiny study: a page beside what is there, of its numbers; and its model behind the page."""

import contextlib
import json
import re

import numpy as np
import pytest

from hessgeo import store
from hessgeo.explorer.packing import unpack
from hessgeo.pipeline.at_hand import study_at_hand
from hessgeo.study.explorer import up_to_date, write_page
from hessgeo.study.folder import Stored
from hessgeo.study.live import live_server, sampler_of

pytestmark = pytest.mark.slow


def layers_of(page):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])
    return {layer["key"]: unpack(layer["values"]) for layer in data["layers"]}


def test_the_page_is_made_beside_a_finished_study(copied):
    workflow = copied()
    study, folder = workflow.study, workflow("results/tiny")
    before = workflow.times(study.targets)
    workflow.run("explore")
    page = folder / "explore.html"
    assert workflow.times(study.targets) == before
    assert store.fault(page) is None
    free_energy, metric = (store.read_dataset(folder / f"{name}.nc") for name in ("free_energy", "metric"))
    layers = layers_of(page)
    assert np.allclose(layers["F"], free_energy["free_energy"], rtol=1e-6)
    assert np.allclose(layers["logdet"], metric["log_determinant"], rtol=1e-5)
    assert np.array_equal(layers["phase"], store.read_dataset(folder / "phases.nc")["label"])
    again = workflow.run("explore", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    # The command finds it as it is, until there is something new to show.
    assert up_to_date(folder)
    assert write_page(folder) == page
    risk = free_energy[["free_energy"]].rename(free_energy="jitter_risk").drop_attrs()
    store.write_dataset(folder / "safety.nc", risk)
    assert up_to_date(folder)  # nothing vouches for that
    store.vouch([folder / "safety.nc"])
    assert not up_to_date(folder)
    assert "jitter_risk" in layers_of(write_page(folder))
    assert up_to_date(folder)
    due = workflow.run("explore", "--dry-run", "--quiet", "rules")
    assert "write_explorer" in due.stdout


def test_the_model_behind_the_page_makes_the_images_of_the_study(finished):
    with contextlib.chdir(finished.directory):
        folder = finished("results/tiny").relative_to(finished.directory)
        study, parts = study_at_hand(folder, [finished.overrides_file]), Stored(folder, {})
        sample = sampler_of(study, parts)
        for row in (0, 100, 255):
            off = sample(*parts.t[row]).astype(int) - np.asarray(parts.images[row])
            # Batches of other sizes round differently, which may tip a pixel over.
            assert np.abs(off).max() <= 1
        between = sample(*(parts.t[100] + parts.t[117]) / 2)
        assert between.shape == (8, 8, 1)
        with pytest.raises(ValueError, match="the settings at hand have the studies digits, and not tiny"):
            live_server(folder, None)
