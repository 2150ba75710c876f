"""A study that the workflow built, as an object; and the same study from functions of the same models."""

import numpy as np
import pytest
import torch
import xarray as xr

import hessgeo as hg
from hessgeo import store
from hessgeo.features import load_embedding
from hessgeo.pipeline.loading import load_model
from hessgeo.pipeline.settings import merged, study_defaults

SECTIONS = ("posterior", "free_energy", "phases", "geodesics")


@pytest.fixture
def opened(finished):
    return hg.open(finished("results/tiny"))


@pytest.mark.slow
def test_a_study_of_the_workflow_is_opened_as_it_was_built(opened, finished):
    noted = opened.free_energy.to_xarray().attrs
    assert finished("results/tiny") / noted["samples"] == finished(finished.study.samples)
    assert noted["embedding"] == finished.study.embedding_array
    assert opened.grid.shape == (16, 16)
    assert opened.images.shape == (256, 8, 8, 1)
    found = store.read_json(finished("results/tiny/phases.json"))
    assert opened.phases.count == len(found["phases"]) == len(opened.phases.phases)
    assert opened.verdict == found["verdict"]
    numbers = store.read_json(finished("results/tiny/numbers.json"))
    assert f"N {numbers['posterior']['resolution']:.4g}" in repr(opened).replace("\n ", "")
    assert opened.anchors.shape == (3, 1, 8, 8)
    assert bool(opened.geodesic((-0.7, -0.7), (1.7, 1.7)).certified.all())


@pytest.mark.slow
def test_functions_of_the_same_models_give_the_same_study(opened, finished):
    own = finished.overrides["studies"]["tiny"]
    settings, models = merged(study_defaults(), own), finished("results/models/tiny")
    denoiser = load_model(settings["system"], str(models / "diffusion"), device="cpu")
    features = load_embedding(settings["embedding"], str(models / "clip"), (8, 8, 1), device="cpu")
    study = hg.map(
        lambda z: denoiser.decode(denoiser.denoise(torch.as_tensor(z))),
        features,
        anchors=hg.random_anchors(own["slice"]["anchors"], (1, 8, 8)),
        grid=own["sampling"]["grid"],
        seed=own["seed"],
        **{name: own[name] for name in SECTIONS if name in own},
    )
    # Batches of other sizes round differently, which may tip a pixel over.
    off = np.abs(study.images.astype(int) - np.asarray(opened.images))
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3
    assert np.allclose(study.embedding, opened.embedding, atol=2e-3)
    assert study.posterior.resolution == pytest.approx(opened.posterior.resolution, rel=1e-3)
    first, second = (one.free_energy.to_xarray() for one in (study, opened))
    xr.testing.assert_allclose(first[["free_energy"]], second[["free_energy"]], rtol=1e-2, atol=1e-6)
    assert study.phases.count == opened.phases.count
    assert (study.phases.label == opened.phases.label).mean() > 0.99
