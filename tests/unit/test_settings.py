"""Bad settings end in one clear line each; good ones decide the paths."""

import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from hessgeo.pipeline.derived import image_shape
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.schema import defaults, rules
from hessgeo.pipeline.schema.__main__ import config_text
from hessgeo.pipeline.settings import SettingsError, merged, read_settings, study_defaults
from hessgeo.store import shard_file, sidecar_file
from hessgeo.store.shards import create_array, create_samples


@pytest.fixture
def errors(config, tmp_path, monkeypatch):
    """Lines that a change of the default configuration gives, read in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def read(change):
        with pytest.raises(SettingsError) as caught:
            read_settings(merged(config, change))
        lines = str(caught.value).splitlines()
        assert all(line.startswith("hessgeo: ") for line in lines)
        assert list(tmp_path.iterdir()) == []
        return [line.removeprefix("hessgeo: ") for line in lines]

    return read


def study(**entries):
    return {"studies": {"digits": entries}}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            study(posterior={"kernel": "gausian"}),
            "studies.digits.posterior.kernel: 'gausian' is not allowed; allowed: gaussian, laplace",
        ),
        (
            study(scan={"factors": []}),
            "studies.digits.scan.factors: [] is not allowed; allowed: a list of 1 to 100 different entries, "
            "each a number >= 0.001 and <= 1000",
        ),
        (
            study(sampling={"grid": [64, 4]}),
            "studies.digits.sampling.grid[1]: 4 is not allowed; allowed: a whole number >= 8 and <= 4096",
        ),
        (
            study(sampling={"grid": [64.0, 64]}),
            "studies.digits.sampling.grid[0]: 64.0 is not allowed; allowed: a whole number >= 8 and <= 4096",
        ),
        (
            {"defaults": {"posterior": {"exclude_self": 1}}},
            "defaults.posterior.exclude_self: 1 is not allowed; allowed: true or false",
        ),
        (
            {"defaults": {"posterior": {"resolution": float("inf")}}},
            "defaults.posterior.resolution: Infinity is not allowed; allowed: auto or a number >= 0.001 "
            "and <= 1e+07",
        ),
        (
            {"models": {"digits": {"diffusion": {"channels": [12]}}}},
            "models.digits.diffusion.channels[0]: 12 is not allowed; allowed: a whole number >= 8 "
            "and <= 1024, a multiple of 8",
        ),
        (
            {"studies": {"digits": None}},
            "studies.digits: null is not allowed; allowed: a mapping with seed, samples, system, slice, sampling, "
            "embedding, posterior, free_energy, phases, scan, geodesics, history, stability, zoom, safety, morph, "
            "refine, figures",
        ),
        (
            study(slice={"extent": [[2, -1], [-1, 2]]}),
            "studies.digits.slice.extent: [[2, -1], [-1, 2]] is not allowed; allowed: "
            "[[a_min, a_max], [b_min, b_max]], each increasing",
        ),
        (
            study(sampling={"grid": [10, 10], "shard": 64}, free_energy={"splines": [8, 8]}),
            "studies.digits.sampling.shard: 64 is not allowed; allowed: a divisor of the number of points, 100",
        ),
        (
            study(sampling={"grid": [8, 9]}, free_energy={"splines": [8, 8]}),
            "defaults.sampling.shard: 1024 is not allowed; allowed: a divisor of the number of points, 72",
        ),
        (
            study(sampling={"design": "sobol"}),
            "defaults.sampling.count: null is not allowed; allowed: a whole number >= 64 for the design sobol",
        ),
        (
            study(sampling={"count": 4096}),
            "studies.digits.sampling.count: 4096 is not allowed; allowed: null for the design grid, "
            "whose points are its nodes",
        ),
        (
            study(sampling={"grid": [16, 64]}, free_energy={"fit": "spline"}),
            "defaults.free_energy.splines: [32, 32] is not allowed; allowed: "
            "at most the nodes of sampling.grid, [16, 64]",
        ),
        (
            study(sampling={"design": "sobol", "count": 4096}, free_energy={"coordinates": "learned"}),
            "studies.digits.free_energy.coordinates: 'learned' is not allowed; allowed: given, unless every node of "
            "the design grid has a sample and the posterior.kind is distance",
        ),
        (
            study(free_energy={"coordinates": "learned", "fit": "spline"}),
            "studies.digits.free_energy.coordinates: 'learned' is not allowed; allowed: given for the fit spline",
        ),
        (
            study(posterior={"coarse": [65, 8]}),
            "studies.digits.posterior.coarse: [65, 8] is not allowed; allowed: "
            "at most the nodes of sampling.grid, [64, 64]",
        ),
        (
            study(posterior={"neighbours": 4096}),
            "studies.digits.posterior.neighbours: 4096 is not allowed; allowed: fewer than the 4096 points",
        ),
        (
            study(system={"checkpoint": "nowhere"}, embedding={"kind": "pixels"}),
            "studies.digits.system.checkpoint: 'nowhere' is not allowed; allowed: an entry of models (digits), "
            "a pipeline folder of diffusers or a .safetensors file (nowhere is missing, must be a pipeline folder of "
            "diffusers or a .safetensors file)",
        ),
        (
            study(embedding={"checkpoint": "nowhere"}),
            "studies.digits.embedding.checkpoint: 'nowhere' is not allowed; allowed: an entry of models "
            "(digits), or the files of a model (nowhere is missing, must be a folder of open_clip or a weights file)",
        ),
        (
            study(slice={"anchors": "nowhere.npy"}),
            "studies.digits.slice.anchors: 'nowhere.npy' is not allowed; allowed: a .npy, .safetensors, .pt "
            "or .pth file of shape (3, 1, 8, 8), or a seed (nowhere.npy is missing, must be a latent file of real "
            "numbers of shape (3, 1, 8, 8))",
        ),
        (
            {"results": "/dev/null/results"},
            "results: '/dev/null/results' is not allowed; allowed: a folder that can be written to "
            "(Not a directory at /dev/null)",
        ),
        (
            {"run": ["digit"]},
            "run[0]: 'digit' is not allowed; allowed: an entry of studies (digits); nearest: digits",
        ),
        (
            {"run": "digits"},
            "run: 'digits' is not allowed; allowed: a list of 1 to 1000 different entries, each a text",
        ),
        (
            {"studies": {"models": {}}},
            "studies.models: 'models' is not allowed as a name; allowed: "
            "another name: the workflow has a folder of this one",
        ),
    ],
)
def test_a_bad_value_is_named_in_one_line(errors, change, line):
    assert errors(change) == [line]


@pytest.mark.parametrize(
    ("change", "start"),
    [
        (
            study(posterior={"kernal": "gaussian"}),
            "studies.digits.posterior.kernal: unknown key; nearest: kernel;",
        ),
        ({"study": {}}, "study: unknown key; nearest: studies;"),
        ({"models": {"digits": {"clap": {}}}}, "models.digits.clap: unknown key; nearest: clip;"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(errors, change, start):
    (line,) = errors(change)
    assert line.startswith(start)
    assert "; allowed: " in line


@pytest.mark.parametrize("value", ["20", "1e-3"])
def test_a_number_in_text_is_explained(errors, value):
    # 1e-3 is text in YAML 1.1; 20 comes as text out of --config 'defaults={posterior: {resolution: 20}}'.
    (line,) = errors({"defaults": {"posterior": {"resolution": value}}})
    assert f"defaults.posterior.resolution: '{value}' is not allowed" in line
    assert "it is text, not a number" in line
    assert "--configfile" in line


def test_all_mistakes_are_told_at_once(errors):
    change = study(
        slice={"extent": [[0, 0], [0, 1]]},
        sampling={"shard": 7},
        system={"checkpoint": "nowhere"},
        embedding={"kind": "pixels"},
    )
    keys = [line.split(":")[0] for line in errors(change)]
    assert keys == [
        f"studies.digits.{key}" for key in ("slice.extent", "sampling.shard", "system.checkpoint")
    ]


@pytest.mark.parametrize("shape", [(3, 8, 7), (2, 1, 8, 8)])
def test_anchors_of_another_shape_are_refused(errors, tmp_path, tmp_path_factory, shape):
    path = tmp_path_factory.mktemp("anchors") / "anchors.npy"
    np.save(path, np.zeros(shape))
    (line,) = errors(study(slice={"anchors": str(path)}))
    assert "a .npy, .safetensors, .pt or .pth file of shape (3, 1, 8, 8), or a seed" in line
    assert f"holds float64 of shape {shape}, must be real numbers" in line


def write_pipeline(folder, **unet):
    """The configuration of an unconditional pipeline, without any weight worth loading."""
    unet = {
        "_class_name": "UNet2DModel",
        "sample_size": 16,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [8, 16],
        **unet,
    }
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDIMScheduler"]}
    for part in parts:
        (folder / part).mkdir(parents=True)
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DDIMPipeline", **parts}))
    (folder / "unet" / "config.json").write_text(json.dumps(unet))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    return str(folder)


def test_a_checkpoint_folder_gives_the_shapes(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_pipeline(tmp_path / "pipeline", sample_size=[16, 24])
    np.save("anchors.npy", np.random.default_rng(0).standard_normal((3, 3, 16, 24)))
    change = study(
        embedding={"kind": "pixels"}, system={"checkpoint": folder}, slice={"anchors": "anchors.npy"}
    )
    settings = read_settings(merged(config, change))
    assert image_shape(settings.studies["digits"]["system"], settings.models) == (16, 24, 3)
    assert "-16x24x3-" in Layout(settings, tmp_path).of("digits").store


def test_anchors_are_compared_with_the_checkpoint_folder(errors, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    folder = write_pipeline(outside / "pipeline")
    np.save(outside / "anchors.npy", np.zeros((3, 1, 8, 8)))
    (line,) = errors(
        study(
            embedding={"kind": "pixels"},
            system={"checkpoint": folder},
            slice={"anchors": str(outside / "anchors.npy")},
        )
    )
    assert "must be real numbers of shape (3, 3, 16, 16)" in line


def test_a_conditional_checkpoint_is_refused(errors, tmp_path_factory):
    folder = write_pipeline(tmp_path_factory.mktemp("outside") / "pipeline", num_class_embeds=10)
    (line,) = errors(study(embedding={"kind": "pixels"}, system={"checkpoint": folder}))
    assert line.startswith("studies.digits.system.checkpoint: ")
    assert "is conditional on a class" in line


def test_config_yaml_is_written_from_the_schema(repository):
    text = (repository / "config.yaml").read_text(encoding="utf-8")
    assert text == config_text(), "python -m hessgeo.pipeline.schema > config.yaml"


def test_a_configuration_of_nothing_is_that_of_the_defaults(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    least = read_settings({"models": {"digits": {}}, "studies": {"digits": {}}})
    assert least.studies == {"digits": study_defaults()} == read_settings(config).studies
    assert least.models == read_settings(config).models
    assert least.generative == read_settings(config).generative
    one, other = study_defaults(), study_defaults()
    one["slice"]["extent"][0][0] = 7
    assert other == study_defaults(), "defaults are shared"


def test_every_setting_is_described():
    def walk(part, name):
        for key, entry in part.get("properties", {}).items():
            assert entry.get("description") or key == "encoder", f"{name}.{key}"
            walk(entry, f"{name}.{key}")
            walk(entry.get("additionalProperties") or {}, f"{name}.{key}")

    walk(rules("config"), "")


@pytest.mark.parametrize("name", ["study", "model", "solvable", "generative"])
def test_every_default_is_allowed(name):
    assert not list(Draft202012Validator(rules(name)).iter_errors(defaults(name)))


def test_a_study_is_the_defaults_with_its_own_entries(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change = study(slice={"extent": [[0, 1], [0, 1]]}, posterior={"kernel": "laplace"})
    complete = read_settings(merged(config, change)).studies["digits"]
    assert complete["slice"] == {**config["defaults"]["slice"], "extent": [[0, 1], [0, 1]]}
    assert complete["posterior"] == {**config["defaults"]["posterior"], "kernel": "laplace"}
    assert complete["sampling"] == config["defaults"]["sampling"]


@pytest.fixture
def layout_of(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda change: Layout(read_settings(merged(config, change)), tmp_path).of("digits")


@pytest.mark.parametrize(
    "change",
    [
        study(seed=22),
        study(system={"steps": 26}),
        study(slice={"normalisation": "std"}),
        study(sampling={"grid": [32, 128]}),
        study(sampling={"shard": 512}),
        {"models": {"digits": {"seed": 1}}},
        {"models": {"digits": {"diffusion": {"steps": 1601}}}},
    ],
)
def test_whatever_changes_a_sample_changes_the_store(layout_of, change):
    assert layout_of(change).samples != layout_of({}).samples


@pytest.mark.parametrize(
    "change",
    [
        study(posterior={"cells": 41}),
        study(free_energy={"splines": [20, 20]}),
        study(embedding={"kind": "pixels"}),
        {"models": {"digits": {"clip": {"steps": 601}}}},
    ],
)
def test_whatever_does_not_change_a_sample_keeps_the_store(layout_of, change):
    assert layout_of(change).samples == layout_of({}).samples


def test_the_grid_of_a_scattered_design_carries_results_only(layout_of):
    sobol = {"design": "sobol", "count": 2048}
    one, other = (layout_of(study(sampling={**sobol, "grid": grid})) for grid in ([32, 32], [48, 48]))
    assert one.samples == other.samples
    assert one.grid != other.grid


def test_whatever_changes_an_embedding_changes_its_key(layout_of):
    keys = {
        layout_of(change).embedding_array
        for change in (
            {},
            study(embedding={"kind": "pixels"}),
            {"models": {"digits": {"clip": {"steps": 601}}}},
            {"models": {"digits": {"seed": 1}}},
        )
    }
    assert len(keys) == 4
    classifier = {"models": {"digits": {"classifier": {"steps": 601}}}}
    assert layout_of(classifier).embedding_array == layout_of({}).embedding_array


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1}) != digest({"a": 1, "b": [3, 2]})


def test_the_layout_and_the_store_agree_on_paths(layout_of):
    study_layout = layout_of({})
    store = study_layout.samples
    points, images = np.zeros((4096, 2)), {"image": ((8, 8, 1), "u1")}
    create_samples(store, points=points, arrays=images, shard=1024, attributes={})
    create_array(store, study_layout.embedding_array, samples=4096, item=(32,), dtype="f4", shard=1024)
    for name in ("t", "image", study_layout.embedding_array):
        shards = study_layout.shard_count(name)
        assert study_layout.shards(name) == [str(shard_file(store, name, k)) for k in range(shards)]
        assert study_layout.sidecars(name) == [str(sidecar_file(store, name, k)) for k in range(shards)]


def test_paths_without_what_they_are_compared_with_are_refused(errors):
    change = {"studies": {"digits": {"geodesics": {"methods": ["fisher", "pixels"]}}}}
    (line,) = errors(change)
    assert line.startswith('studies.digits.geodesics.methods: ["fisher", "pixels"] is not allowed; allowed: ')
    assert "with linear and fisher" in line


def test_quantiles_that_do_not_rise_are_refused(errors):
    change = {"studies": {"digits": {"geodesics": {"path_length_clip": [0.9, 0.1]}}}}
    (line,) = errors(change)
    assert line.startswith("studies.digits.geodesics.path_length_clip: [0.9, 0.1] is not allowed; allowed: ")
    assert "two quantiles that rise" in line


def backwards(value):
    """Mappings in the other order, at every depth."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return value


def test_the_order_of_keys_in_a_file_means_nothing(config):
    # Snakemake compares params as text: another order would have everything done again.
    settings = read_settings(config)
    other = read_settings(backwards(config))
    for part in ("studies", "models", "generative"):
        for name, entry in getattr(settings, part).items():
            assert str(getattr(other, part)[name]) == str(entry)
