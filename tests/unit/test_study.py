"""Settings of models in files, anchors of many kinds, triplets, and studies that share samples."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file
from torchvision.models.vgg import make_layers

from hessgeo.pipeline.derived import image_shape, latent_shape
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import SettingsError, merged, read_settings
from hessgeo.pipeline.study_models import Model
from hessgeo.systems.slices import random_latent

PIXELS = {"kind": "pixels"}  # what every model's images can be embedded by


@pytest.fixture
def read(config, tmp_path, monkeypatch):
    """Settings of a change of the default configuration, read in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *changes: read_settings(merge(config, *changes))


@pytest.fixture
def refused(read):
    """The one line that refuses a change."""

    def line(*changes):
        with pytest.raises(SettingsError) as caught:
            read(*changes)
        (line,) = str(caught.value).splitlines()
        return line.removeprefix("hessgeo: ")

    return line


def merge(config, *changes):
    for change in changes:
        config = merged(config, change)
    return config


def digits(**entries):
    return {"studies": {"digits": entries}}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def photograph(path, size):
    Image.fromarray(np.zeros((*size[::-1], 3), np.uint8)).save(path)


@pytest.fixture
def sd(small_checkpoint, tmp_path):
    """Settings of a study of a small Stable Diffusion."""
    return digits(system={"checkpoint": str(small_checkpoint("small_stable_diffusion"))}, embedding=PIXELS)


def test_a_general_checkpoint_stands_in_for_null(read, small_checkpoint):
    folder = str(small_checkpoint("small_stable_diffusion"))
    settings = read(digits(system={"checkpoint": None}, embedding=PIXELS), {"checkpoint": folder})
    assert settings.studies["digits"]["system"]["checkpoint"] == folder
    assert image_shape(settings.studies["digits"]["system"], settings.models) == (16, 16, 3)
    assert latent_shape(settings.studies["digits"]["system"], settings.models) == (4, 8, 8)


@pytest.mark.parametrize(("key", "part"), [("checkpoint", "system"), ("clip", "embedding")])
def test_a_checkpoint_that_nobody_names_is_asked_for(refused, key, part):
    other = {"embedding": PIXELS} if part == "system" else {}
    line = refused(digits(**{part: {"checkpoint": None}}, **other))
    assert line.startswith(f"{key}: null is not allowed; allowed: ")
    assert line.endswith(f"{part}.checkpoint of study digits is null")


@pytest.mark.parametrize(
    ("key", "part"), [("checkpoint", "system"), ("clip", "embedding")], ids=["checkpoint", "clip"]
)
def test_a_general_file_that_is_missing_is_named_by_its_key(refused, key, part):
    other = {"embedding": PIXELS} if part == "system" else {}
    line = refused(digits(**{part: {"checkpoint": None}}, **other), {key: "nowhere.safetensors"})
    assert line.startswith(f"{key}: 'nowhere.safetensors' is not allowed; allowed: ")


@pytest.mark.parametrize(
    ("system", "key", "reason"),
    [
        ({"scheduler": "DDIMSchedular"}, "scheduler", "allowed: auto, "),
        ({"scheduler": "EulerDiscreteScheduler", "eta": 0.5}, "eta", "0 for a sampler other than DDIM"),
        ({"size": [100, 101]}, "checkpoint", "100"),
        ({"lora": [{"file": "nowhere.safetensors"}]}, "lora", "existing .safetensors file"),
        ({"latent": [512]}, "latent", "null for the kind diffusion"),
        ({"channels": 1}, "channels", "3 for the kind diffusion"),
        ({"negative_prompt": "dull"}, "negative_prompt", "which leaves it out"),
        (
            {"lora": [{"weight": 1.0}]},
            "lora[0].file",
            "is missing; allowed: a path without control characters",
        ),
    ],
)
def test_settings_that_a_pipeline_cannot_follow(refused, sd, system, key, reason):
    line = refused(sd, digits(system=system))
    assert line.startswith(f"studies.digits.system.{key}: ")
    assert reason in line


def test_a_lora_that_is_none_is_refused_before_any_job(refused, sd, small_checkpoint):
    weights = small_checkpoint("small_stable_diffusion") / "unet" / "diffusion_pytorch_model.safetensors"
    line = refused(sd, digits(system={"lora": [{"file": str(weights), "weight": 1.0}]}))
    assert line.startswith("studies.digits.system.lora: ")
    assert "is no LoRA: it holds " in line


def test_a_sampler_that_draws_noise_is_refused_before_any_job(refused, sd, small_checkpoint, tmp_path):
    folder = shutil.copytree(small_checkpoint("small_stable_diffusion"), tmp_path / "noisy")
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"algorithm_type": "sde-dpmsolver++"}))
    system = {"checkpoint": str(folder), "scheduler": "DPMSolverMultistepScheduler"}
    line = refused(sd, digits(system=system))
    assert line.startswith("studies.digits.system.scheduler: 'DPMSolverMultistepScheduler' is not allowed")
    assert "says algorithm_type sde-dpmsolver++, which makes DPMSolverMultistepScheduler draw noise" in line


@pytest.mark.parametrize(
    ("entry", "neutral"),
    [({"prompt": "a house"}, "''"), ({"guidance": 5.0}, "1.0"), ({"negative_prompt": "dull"}, "''")],
)
def test_an_unconditional_model_takes_no_prompt(refused, entry, neutral):
    (key,) = entry
    line = refused(digits(system=entry))
    assert line.startswith(f"studies.digits.system.{key}: ")
    assert line.endswith(f"allowed: {neutral} for an unconditional model")


def test_flow_matching_has_no_eta_and_flux_no_negative_prompt(refused, small_checkpoint):
    flux = digits(system={"checkpoint": str(small_checkpoint("small_flux"))}, embedding=PIXELS)
    assert "system.eta: 0.5 is not allowed; allowed: 0" in refused(flux, digits(system={"eta": 0.5}))
    assert "system.negative_prompt" in refused(flux, digits(system={"negative_prompt": "dull"}))


def test_pickles_are_refused_with_the_way_out(refused, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pickles")
    torch.save({}, folder / "model.ckpt")
    line = refused(digits(system={"checkpoint": str(folder / "model.ckpt")}, embedding=PIXELS))
    assert "is a pickle, which can run code when it is read" in line
    assert f"python -m hessgeo.weights {folder / 'model.ckpt'} {folder / 'model.safetensors'}" in line


@pytest.mark.parametrize(
    ("system", "key"),
    [
        ({"latent": None, "size": [8, 8]}, "latent"),
        ({"latent": [4], "size": None}, "size"),
        ({"latent": [4], "size": [8, 8], "prompt": "a house"}, "prompt"),
        ({"latent": [4], "size": [8, 8], "output_range": [1, -1]}, "output_range"),
        ({"latent": [4], "size": [8, 8], "output_range": [0, 0]}, "output_range"),
    ],
)
def test_a_generator_says_its_shapes_and_nothing_of_a_sampler(refused, tmp_path_factory, system, key):
    path = tmp_path_factory.mktemp("generator") / "g.pt"
    torch.jit.script(torch.nn.Linear(4, 4)).save(path)
    line = refused(digits(system={"kind": "generator", "checkpoint": str(path), **system}, embedding=PIXELS))
    assert line.startswith(f"studies.digits.system.{key}: ")


def test_a_generator_decides_the_shapes(read, tmp_path):
    torch.jit.script(torch.nn.Linear(4, 4)).save(tmp_path / "g.pt")
    system = {"kind": "generator", "checkpoint": "g.pt", "latent": [4], "size": [8, 6], "channels": 1}
    settings = read(digits(system=system, embedding=PIXELS))
    assert latent_shape(settings.studies["digits"]["system"], settings.models) == (4,)
    assert image_shape(settings.studies["digits"]["system"], settings.models) == (8, 6, 1)
    assert Layout(settings, tmp_path).of("digits").system_model.files == ["g.pt"]


def test_anchors_can_be_latents_images_and_seeds(read, sd, tmp_path):
    photograph("cat.png", (16, 16))
    save_file({"latent": noise(4, 8, 8)}, "dog.safetensors")
    settings = read(sd, digits(slice={"anchors": ["cat.png", "dog.safetensors", 7]}))
    study = Layout(settings, tmp_path).of("digits")
    assert study.inverts_images
    assert list(study.anchors.files.values()) == ["cat.png", "dog.safetensors"]
    assert study.awaited_inverter == [], "nothing is trained to invert an image"
    assert "inversion" in [figure.name for figure in study.figures]


def test_anchors_are_known_by_their_content(read, tmp_path):
    names = []
    for seed in (0, 1, 0):
        np.save("anchors.npy", noise(3, 1, 8, 8, seed=seed))
        shutil.copy("anchors.npy", f"anchors-{len(names)}.npy")
        settings = read(digits(slice={"anchors": f"anchors-{len(names)}.npy"}))
        names.append(Layout(settings, tmp_path).of("digits").store)
    assert names[0] == names[2] != names[1]


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("wide.png", "an image of 16 x 16 pixels (width x height) (image wide.png is 32 x 16 pixels"),
        ("text.png", "an image of 16 x 16 pixels (width x height) (image text.png cannot be read"),
        ("nowhere.jpg", "an image of 16 x 16 pixels (width x height) (nowhere.jpg is missing"),
        (
            "three.npy",
            "a .npy, .safetensors, .pt or .pth file of shape (4, 8, 8), or a seed (latent file three.npy holds float64 "
            "of shape (3, 4, 8, 8), must be real numbers of shape (4, 8, 8))",
        ),
        ("two.safetensors", "or a seed (latent file two.safetensors holds 2 tensors, must hold one"),
    ],
)
def test_anchors_of_another_kind_or_size_are_refused(refused, sd, source, allowed):
    photograph("wide.png", (32, 16))
    np.save("three.npy", np.zeros((3, 4, 8, 8)))
    save_file({name: np.zeros((4, 8, 8), np.float32) for name in "ab"}, "two.safetensors")
    with open("text.png", "w") as file:
        file.write("no image")
    line = refused(sd, digits(slice={"anchors": [1, source, 3]}))
    assert line.startswith(f"studies.digits.slice.anchors: '{source}' is not allowed; allowed: ")
    assert allowed in line


@pytest.mark.parametrize("system", [{"eta": 0.5}, {"scheduler": "EulerDiscreteScheduler"}])
def test_images_need_a_sampler_with_an_inverse(refused, sd, system):
    photograph("cat.png", (16, 16))
    line = refused(sd, digits(system=system, slice={"anchors": ["cat.png", 1, 2]}))
    assert line.startswith(
        "studies.digits.slice.anchors: 'cat.png' is not allowed; allowed: a seed or a latent file"
    )


def test_each_triplet_is_a_study(read, tmp_path):
    np.save("anchors.npy", noise(3, 1, 8, 8))
    settings = read(digits(slice={"triplets": [1, "anchors.npy", [4, 5, 6]]}))
    assert settings.run == ("digits-1", "digits-2", "digits-3")
    studies = Layout(settings, tmp_path).studies
    assert [study.anchor_sources for study in studies] == [[1], ["anchors.npy"], [4, 5, 6]]
    assert len({study.store for study in studies}) == 3
    assert studies[1].path("free_energy.nc") == "results/digits-2/free_energy.nc"


def test_triplets_must_not_take_the_name_of_another_study(refused):
    changes = {"run": ["digits", "digits-1"], "studies": {"digits-1": {}}}
    line = refused(digits(slice={"triplets": [1, 2]}), changes)
    assert (
        line
        == "studies.digits-1: two studies have this name once their triplets are numbered; allowed: another name"
    )


def sharing(**entries):
    return {"run": ["digits", "other"], "studies": {"other": {"samples": "digits", **entries}}}


def test_a_study_can_use_the_samples_of_another(read, tmp_path):
    change = digits(sampling={"grid": [48, 48], "shard": 256}, slice={"anchors": 5})
    layout = Layout(read(change, sharing(posterior={"kernel": "laplace"})), tmp_path)
    own, other = layout.studies
    assert own.samples == other.samples == f"results/digits/samples/{own.store}.zarr"
    assert own.shards("embedding") == other.shards("embedding")
    assert own.sidecars("image") == other.sidecars("image")
    assert own.anchor_file("anchors") == other.anchor_file("anchors")
    assert other.path("posterior.zarr") == "results/other/posterior.zarr"
    assert other.grid["shape"] == (48, 48)


def test_shared_samples_follow_the_triplets(read, tmp_path):
    layout = Layout(read(digits(slice={"triplets": [1, 2]}), sharing()), tmp_path)
    assert [study.name for study in layout.studies] == ["digits-1", "digits-2", "other-1", "other-2"]
    assert layout.of("other-2").samples == layout.of("digits-2").samples


def test_the_owner_of_samples_need_not_be_built(read, tmp_path):
    layout = Layout(read(sharing(), {"run": ["other"]}), tmp_path)
    assert [study.name for study in layout.studies] == ["other"]
    assert any(path.startswith("results/digits/samples/") for path in layout.targets)
    assert not any(path.startswith("results/digits/free_energy") for path in layout.targets)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            {"samples": "nowhere"},
            "studies.other.samples: 'nowhere' is not allowed; allowed: another study that has samples of its own "
            "(digits)",
        ),
        (
            {"samples": "digits", "seed": 3},
            "studies.other.seed: 3 is not allowed; allowed: nothing beside samples, which brings its own seed",
        ),
    ],
)
def test_sharing_is_checked(refused, entries, line):
    assert refused({"run": ["digits", "other"], "studies": {"other": entries}}) == line


def test_an_embedded_clip_is_not_set_on_other_images(refused, small_checkpoint):
    line = refused(digits(system={"checkpoint": str(small_checkpoint("small_stable_diffusion"))}))
    assert line.startswith(
        "defaults.embedding.checkpoint: 'digits' is not allowed; allowed: the files of a model"
    )


@pytest.mark.parametrize("key", ["checkpoint", "clip"])
def test_a_general_file_that_no_study_takes_is_not_ignored(refused, key):
    line = refused({key: "/models/x.safetensors"})
    assert line.startswith(f"{key}: '/models/x.safetensors' is not allowed; allowed: null where no study")


def test_what_samples_do_not_depend_on_leaves_their_jobs_alone(read, tmp_path):
    scattered = digits(sampling={"design": "uniform", "count": 4096})
    one, other = (
        Layout(
            read(scattered, digits(sampling={"grid": grid}, slice={"inversion": {"iterations": k}})), tmp_path
        ).of("digits")
        for grid, k in (([64, 64], 10), ([48, 48], 3))
    )
    assert one.store == other.store
    assert one.design_grid == other.design_grid
    assert one.sampling == other.sampling
    assert one.grid != other.grid


def test_jobs_ask_for_the_memory_of_their_weights(read, sd, tmp_path, small_checkpoint):
    study = Layout(read(sd), tmp_path).of("digits")
    assert study.system_memory_mb >= 4_000
    # Twice the bytes of the files there are, in whole megabytes: 2.5 and 1.2 MB make 7.4.
    for name, size in (("one", 2_500_000), ("two", 1_200_000)):
        (tmp_path / name).write_bytes(bytes(size))
    named = {name: str(tmp_path / name) for name in ("one", "two", "three")}
    assert Model(named=named).size_mb == 7
    assert study.embedding_memory_mb == 4_000, "pixels have no weights"


def test_comparisons_name_studies_that_are_built(read, refused, tmp_path):
    settings = read(sharing(), {"comparisons": {"kernels": ["digits", "other"]}})
    layout = Layout(settings, tmp_path)
    assert "results/comparisons/kernels.svg" in layout.targets
    line = refused({"comparisons": {"kernels": ["digits", "other"]}})
    assert line == "comparisons.kernels[1]: 'other' is not allowed; allowed: a study that is built (digits)"


def test_a_calibration_is_published_unless_a_study_has_none(read, tmp_path):
    published = [
        [
            path
            for path in Layout(read(digits(**more)), tmp_path).of("digits").targets
            if "calibration" in path
        ]
        for more in ({"figures": {"calibration": False}}, {})
    ]
    assert published[0] == []
    assert {path.rpartition("/")[2] for path in published[1]} == {
        "calibration.nc", "calibration.json", "calibration.svg", "calibration.png", "calibration.csv",
    }  # fmt: skip


def test_a_network_takes_the_place_of_distances(read, refused, tmp_path):
    network = {"posterior": {"kind": "network"}}
    study = Layout(read(digits(**network)), tmp_path).of("digits")
    assert study.network_files[0] == "results/digits/posterior_network/config.json"
    assert "resolution_scan" not in [figure.name for figure in study.figures]
    assert not any("resolution_scan" in path for path in study.targets)
    line = refused(digits(posterior={"kind": "network", "coarse": [8, 8]}))
    assert line.startswith(
        "studies.digits.posterior.coarse: [8, 8] is not allowed; allowed: null for the kind network"
    )
    line = refused(digits(posterior={"kind": "network", "network": {"bundle": 9}}))
    assert line.startswith("studies.digits.posterior.network.bundle: 9 is not allowed; allowed: at most ")


def test_every_study_file_is_allowed(config, repository, small_checkpoint, tmp_path, monkeypatch):
    import checkpoints

    monkeypatch.chdir(tmp_path)
    # Those of the gallery need files of other packages, and have a test of their own.
    studies = (repository / "workflow" / "studies").glob("*.yaml")
    files = sorted(file for file in studies if file.stem not in ("faces", "terrain"))
    assert len(files) >= 10
    np.save("images.npy", np.zeros((64, 8, 8), np.uint8))
    points = np.random.default_rng(0).random((64, 2))
    np.savetxt("points.csv", points, delimiter=",", header="a,b", comments="")
    checkpoints.small_lora(small_checkpoint("small_stable_diffusion"), tmp_path / "style.safetensors")
    for file in files:
        builder = {"flux": "small_flux", "sdxl": "small_stable_diffusion_xl"}.get(
            file.stem, "small_stable_diffusion"
        )
        change = yaml.safe_load(file.read_text(encoding="utf-8"))
        # Small models in place of the ones that the file is for: the sizes in pixels and the CLIP's name stay out.
        here = {"defaults": {"system": {"size": None}}}
        if change.get("defaults", {}).get("system", {}).get("checkpoint", "embedded") is None:
            here["checkpoint"] = str(small_checkpoint(builder))
        if file.stem == "own-samples":
            here["studies"] = {"own": {"system": {"images": "images.npy"}}}
        pixels = {"defaults": {"embedding": {"kind": "pixels", "model": None}}}
        settings = read_settings(merge(config, change, here, pixels))

        assert len(Layout(settings, tmp_path).targets) > 40 * len(settings.run)


# --- perceptual features, and methods that a study cannot have ---


@pytest.fixture
def vgg(tmp_path):
    """A narrow VGG-16 in a file, whose linear weights are in another."""
    layers = make_layers([2, 2, "M", 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M", 2, 2, 2])
    network, linear = tmp_path / "vgg.safetensors", tmp_path / "linear.safetensors"
    save_file({f"features.{name}": tensor.numpy() for name, tensor in layers.state_dict().items()}, network)
    save_file({f"lin{k}.model.1.weight": np.ones((1, 2, 1, 1), np.float32) for k in range(5)}, linear)
    return {"checkpoint": str(network), "linear": str(linear)}


def test_perceptual_features_are_of_the_classifier_or_a_checkpoint(read, sd, vgg, tmp_path):
    def layout(*changes):
        return Layout(read(*changes), tmp_path).of("digits")

    assert layout().perceptual == {"kind": "classifier", "checkpoint": "results/models/digits/classifier"}
    assert layout().perceptual_model.files == layout().classifier.files
    assert layout(sd).perceptual is None
    assert layout(sd).perceptual_model.files == []
    own = layout(sd, digits(geodesics={"perceptual": vgg}))
    assert own.perceptual == {"kind": "lpips", **vgg, "size": 64}
    assert own.perceptual_model.files == [vgg["checkpoint"], vgg["linear"]]
    assert own.methods_left_out == {}


def test_methods_of_the_defaults_that_a_study_cannot_have_are_left_out(read, sd, tmp_path):
    network = digits(posterior={"kind": "network"})
    left_out = Layout(read(sd, network), tmp_path).of("digits").methods_left_out
    assert set(left_out) == {"perceptual", "density"}
    assert "geodesics.perceptual.checkpoint" in left_out["perceptual"]
    assert Layout(read(), tmp_path).of("digits").methods_left_out == {}


@pytest.mark.parametrize("method", ["perceptual", "density"])
def test_a_method_that_a_study_names_and_cannot_have_is_refused(refused, read, sd, method):
    change = (
        sd if method == "perceptual" else {},
        digits(posterior={"kind": "network"}) if method == "density" else {},
    )
    named = digits(geodesics={"methods": ["linear", "fisher", method]})
    read(named)
    line = refused(*change, named)
    start = f'studies.digits.geodesics.methods: ["linear", "fisher", "{method}"] is not allowed; allowed: '
    assert line.startswith(f"{start}a list without {method}, which needs ")


def test_perceptual_weights_that_are_wrong_are_refused_by_their_key(refused, sd, vgg, tmp_path):
    def line(**perceptual):
        return refused(sd, digits(geodesics={"perceptual": perceptual}))

    place = "studies.digits.geodesics.perceptual"
    missing = line(checkpoint="nowhere.safetensors")
    assert missing.startswith(
        f"{place}.checkpoint: 'nowhere.safetensors' is not allowed; allowed: null, or a "
    )
    assert line(checkpoint=vgg["linear"]).endswith(
        f"({vgg['linear']} has no tensor features.0.weight, not the weights of VGG-16)"
    )
    pickled = tmp_path / "vgg.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, pickled)
    assert "is a pickle" in line(checkpoint=str(pickled))
    assert line(linear=vgg["linear"]).endswith("null where geodesics.perceptual.checkpoint is null")
    assert line(checkpoint=vgg["checkpoint"], linear=vgg["checkpoint"]).startswith(f"{place}.linear: ")
    small = refused(digits(geodesics={"perceptual": vgg}))
    assert small.endswith("null for images of 8 x 8 pixels: VGG-16 needs 16 along each side")


def test_memory_of_path_jobs_follows_the_images(read, sd, vgg, tmp_path):
    def layout(*changes):
        return Layout(read(*changes), tmp_path).of("digits")

    assert layout().geodesics_memory_mb < 6_100
    torch.jit.script(torch.nn.Linear(4, 4)).save(tmp_path / "g.pt")
    system = {"kind": "generator", "checkpoint": "g.pt", "latent": [4], "size": [512, 512]}
    big = digits(system=system, embedding=PIXELS)
    # Twelve rows of 64 images of 512 x 512 x 3 in single precision, a row of bytes.
    assert layout(big).geodesics_memory_mb == 6_000 + (4 * 12 * 64 + 64) * 512 * 512 * 3 // 10**6
    grey, fine = digits(system={"channels": 1}), digits(geodesics={"perceptual": {**vgg, "size": None}})
    # Two channels in each of five blocks, of a quarter of the pixels from one to the next.
    features = 2 * 512**2 * (1 + 1 / 4 + 1 / 16 + 1 / 64 + 1 / 256)
    expected = 6_000 + (4 * 12 * 64 * features + 64 * 512**2) / 10**6
    assert layout(big, grey, fine).geodesics_memory_mb == pytest.approx(expected, abs=2)
    assert layout(big).score_memory_mb > layout().score_memory_mb + 2 * 1024 * 3 * 512**2 // 10**6


# --- values of anchors ---


def test_anchors_as_torch_saves_them(read, sd, tmp_path):
    torch.save(torch.from_numpy(noise(3, 1, 4, 8, 8)), "stable_version_latents.pt")
    torch.save({"z": torch.from_numpy(noise(1, 4, 8, 8, seed=1))}, "one.pth")
    settings = read(sd, digits(slice={"triplets": ["stable_version_latents.pt", ["one.pth", 1, 2]]}))
    studies = Layout(settings, tmp_path).studies
    files = [list(study.anchors.files.values()) for study in studies]
    assert files == [["stable_version_latents.pt"], ["one.pth"]]


def collinear(first, second):
    return 0.25 * first + 0.75 * second


@pytest.mark.parametrize(
    ("anchors", "reason"),
    [
        ([5, 5, 6], "anchors 1 and 2 are one latent"),
        ([7, 5, 7], "anchors 1 and 3 are one latent"),
        (["a.npy", "a.npy", 1], "anchors 1 and 2 are one latent"),
        (["a.npy", "copy.pt", 1], "anchors 1 and 2 are one latent"),
        (["a.npy", 3, "seed.npy"], "anchors 2 and 3 are one latent"),
        (["a.npy", "b.npy", "between.npy"], "the anchors lie on a line"),
        ("line.npy", "the anchors lie on a line"),
        ("same.npy", "anchors 2 and 3 are one latent"),
        ("origin.npy", "goes through the origin"),
        (["cat.png", "cat.png", 1], "anchors 1 and 2 are one"),
        (["cat.png", 2, "copy.png"], "anchors 1 and 3 are one"),
    ],
    ids=str,
)
def test_anchors_that_span_no_plane_are_refused(refused, sd, anchors, reason):
    a, b = noise(4, 8, 8, seed=1), noise(4, 8, 8, seed=2)
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.save("between.npy", collinear(a, b))
    np.save("seed.npy", random_latent(3, (4, 8, 8)).astype(np.float32))
    np.save("line.npy", np.stack([a, collinear(a, b), b]))
    np.save("same.npy", np.stack([a, b, b]))
    np.save("origin.npy", np.stack([a, b, 2 * a]))
    torch.save(torch.from_numpy(a[None]), "copy.pt")
    photograph("cat.png", (16, 16))
    shutil.copy("cat.png", "copy.png")
    line = refused(sd, digits(slice={"anchors": anchors}))
    assert line.startswith("studies.digits.slice.anchors: ")
    assert "allowed: three anchors that span a plane (" in line
    assert reason in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.full((4, 8, 8), np.nan), "holds a number that is not finite"),
        (np.full((4, 8, 8), 3.0), "is 3 everywhere"),
        (np.full((4, 8, 8), "a"), "must be real numbers"),
        (np.full((4, 8, 8), None), "holds Python objects"),
    ],
    ids=["nan", "constant", "text", "objects"],
)
@pytest.mark.parametrize("is_whole", [True, False])
def test_values_of_anchors_are_refused(refused, sd, content, reason, is_whole):
    np.save("x.npy", np.stack([content] * 3) if is_whole else content)
    line = refused(sd, digits(slice={"anchors": "x.npy" if is_whole else [1, "x.npy", 2]}))
    assert line.startswith("studies.digits.slice.anchors: 'x.npy' is not allowed; allowed: a .npy, ")
    assert reason in line


def test_a_file_that_stands_twice_is_refused_once(refused, sd):
    np.save("x.npy", np.full((4, 8, 8), np.nan))
    assert "holds a number that is not finite" in refused(
        sd, digits(slice={"anchors": ["x.npy", "x.npy", 1]})
    )


@pytest.mark.parametrize("anchors", ["x.npy", 38])
def test_norms_that_turn_negative_are_refused_before_any_job(read, refused, sd, anchors):
    np.save("x.npy", noise(3, 4, 8, 8) * np.float32([1, 0.1, 1])[:, None, None, None])
    by_norms = {"anchors": anchors, "normalisation": "anchors"}
    far = 3 if anchors == "x.npy" else 300
    read(sd, digits(slice={**by_norms, "extent": [[-0.5, 1.0], [0.0, 1.0]]}))
    line = refused(sd, digits(slice={**by_norms, "extent": [[-0.5, far], [-far, 1.0]]}))
    assert line.startswith("studies.digits.slice.anchors: ")
    assert "extrapolate to a negative one" in line


def test_a_generator_of_one_number_has_no_plane(refused, tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "g.pt"
    torch.jit.script(torch.nn.Linear(1, 4)).save(path)
    system = {"kind": "generator", "checkpoint": str(path), "latent": [1], "size": [8, 8]}
    assert "the anchors lie on a line" in refused(digits(system=system, embedding=PIXELS))
