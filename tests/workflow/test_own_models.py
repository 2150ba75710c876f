"""Models in the formats in which real ones are published, from the command line to figures, without a network."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from running import SMALL

from hessgeo import store
from hessgeo.figures import registry
from hessgeo.pipeline.folders import NETWORK_FILES
from hessgeo.posteriors import read_posterior
from hessgeo.systems.slices import LatentSlice, random_anchors

pytestmark = pytest.mark.slow

PROMPT, NEGATIVE = "a house", "dull"
DREAM = {
    "checkpoint": None,
    "config": "config",
    "steps": 4,
    "guidance": 2.0,
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "batch_size": "auto",
    "lora": [{"file": "lora.safetensors", "weight": 0.5}],
}
PHOTOS = {
    "slice": {
        "anchors": ["photo.png", "latent.safetensors", 7],
        "normalisation": "anchors",
        "extent": [[0, 1], [0, 1]],
    }
}
DREAMS = {
    "run": ["photos"],
    "defaults": {
        **SMALL,
        "system": DREAM,
        "embedding": {"kind": "timm", "checkpoint": None, "model": "test_vit", "batch_size": 64},
        "sampling": {"grid": [16, 16], "shard": 128, "shards_per_job": 2},
    },
    "studies": {"photos": PHOTOS},
}
GIVEN = ("--config", "checkpoint=dream.safetensors", "clip=vit.safetensors")
# Batches of other sizes round their sums otherwise; that can tip a pixel to the next of 256 levels.
LEVEL = 1


@pytest.fixture(scope="module")
def dream_files(small_checkpoint, shared_folder):
    """What someone has at hand: a single-file model, a LoRA, an image encoder, a photograph, a latent."""
    return shared_folder("dream_files", partial(write_dream_files, small_checkpoint))


def write_dream_files(small_checkpoint, folder):
    import checkpoints
    from safetensors.numpy import save_file

    pipeline = small_checkpoint("small_stable_diffusion")
    checkpoints.single_file(pipeline, folder / "dream.safetensors")
    checkpoints.configuration_only(pipeline, folder / "config")
    checkpoints.small_lora(pipeline, folder / "lora.safetensors")
    checkpoints.small_timm_weights(folder / "vit.safetensors")
    rng = np.random.default_rng(3)
    photograph = rng.integers(0, 256, checkpoints.IMAGE_SHAPE, dtype=np.uint8)
    Image.fromarray(photograph).save(folder / "photo.png")
    latent = rng.standard_normal(checkpoints.LATENT_SHAPE).astype(np.float32)
    save_file({"latents": latent}, folder / "latent.safetensors")


@pytest.fixture(scope="module")
def photos(workflow_in, dream_files, guarded, shared_folder):
    """The study of a photograph, built once from nothing."""

    def build(folder):
        shutil.copytree(dream_files, folder / "run")
        workflow_in(folder / "run", base=DREAMS, environment=guarded[1]).run(*GIVEN)

    return workflow_in(shared_folder("photos", build) / "run", base=DREAMS, environment=guarded[1])


def only(folder, pattern="*"):
    (path,) = folder.glob(pattern)
    return path


def stock(folder, builder):
    """The pipeline of a folder as its library loads it, with the sampler that ``auto`` stands for."""
    import diffusers

    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True, safety_checker=None)
    if builder in ("small_stable_diffusion", "small_stable_diffusion_xl"):
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline, latents, *, steps, guidance, negative_prompt=None):
    """Images of a stock call, in 8 bits; Flux wants its latents in patches."""
    import torch

    latents = torch.from_numpy(latents).float()
    if type(pipeline).__name__ == "FluxPipeline":
        latents = pipeline._pack_latents(latents, *latents.shape)
    options = {} if negative_prompt is None else {"negative_prompt": [negative_prompt] * len(latents)}
    images = pipeline(
        [PROMPT] * len(latents),
        height=16,
        width=16,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=latents,
        output_type="np",
        **options,
    ).images
    return np.round(255 * images).astype(int)


def latents_and_images(results, rows, normalisation):
    """Latents of some samples, from the anchors on file and their parameters, and the images there are of them."""
    samples = only(results / "samples", "*.zarr")
    anchors = np.load(only(results / "anchors") / "anchors.npy")
    t = store.read_array(samples, "t")
    extent = tuple((float(axis.min()), float(axis.max())) for axis in t.T)
    plane = LatentSlice(anchors, extent, normalisation)
    return plane.latents(t[rows]), store.read_array(samples, "image")[rows].astype(int)


# --- one file, a LoRA, a photograph ---


def test_images_are_those_of_the_stock_pipeline(photos, small_checkpoint):
    rows = np.array([0, 15, 100, 128, 255])
    latents, images = latents_and_images(photos("results/photos"), rows, "anchors")
    pipeline = stock(small_checkpoint("small_stable_diffusion"), "small_stable_diffusion")
    call = {"steps": DREAM["steps"], "guidance": DREAM["guidance"], "negative_prompt": NEGATIVE}
    plain = draw(pipeline, latents, **call)
    pipeline.load_lora_weights(photos.directory, weight_name="lora.safetensors", local_files_only=True)
    pipeline.fuse_lora(lora_scale=0.5)
    assert np.abs(images - draw(pipeline, latents, **call)).max() <= LEVEL
    # Without any of these the images would be others, by far more than a level.
    assert np.abs(images - plain).mean() > 4
    assert np.abs(np.diff(images, axis=0)).mean() > 4
    without = draw(pipeline, latents, **call | {"negative_prompt": None})
    assert np.abs(images - without).max() > LEVEL


def test_anchors_are_what_was_given_and_the_photograph_inverted(photos):
    from safetensors.numpy import load_file

    folder = only(photos("results/photos/anchors"))
    anchors, made = np.load(folder / "anchors.npy"), np.load(folder / "reconstructions.npy")
    np.testing.assert_array_equal(anchors[1], load_file(photos("latent.safetensors"))["latents"])
    np.testing.assert_array_equal(anchors[2], random_anchors(7, (4, 8, 8))[0])
    photograph = np.asarray(Image.open(photos("photo.png"))).astype(float)
    assert made.shape == (1, *photograph.shape)
    numbers = store.read_json(folder / "anchors.json")
    assert numbers["images"] == ["photo.png"]
    error = np.square(made[0] - photograph).mean() / photograph.var()
    assert numbers["error_in_slice"] == pytest.approx([error])
    for name in ("error", "error_of_autoencoder", "residual"):
        assert np.isfinite(numbers[name]).all()
        assert len(numbers[name]) == 1
    # The slice begins at the photograph: its first sample is the image of that anchor, in another batch.
    (latent,), (image,) = latents_and_images(photos("results/photos"), [0], "anchors")
    np.testing.assert_allclose(latent, anchors[0], rtol=1e-12)  # weights 1, 0, 0 and a norm divided by itself
    assert np.abs(image - made[0].astype(int)).max() <= LEVEL


def test_the_study_is_complete(photos):
    results = photos("results/photos")
    figures = {f"{figure.name}.{kind}" for figure in registry.STUDY for kind in ("svg", "png", "csv")}
    # Of studies of one parameter, and of learned coordinates.
    figures -= {f"{name}.{kind}" for name in ("profile", "coordinates") for kind in ("svg", "png", "csv")}
    assert {path.name for path in (results / "figures").iterdir() if path.is_file()} == figures
    numbers = store.read_json(results / "numbers.json")
    assert set(numbers) == {
        "models",
        "anchors",
        "posterior",
        "free_energy",
        "metric",
        "phases",
        "resolution_scan",
        "calibration",
    }
    assert numbers["models"] == {}
    assert numbers["anchors"] == store.read_json(only(results / "anchors") / "anchors.json")
    table = pd.read_csv(results / "figures" / "inversion.csv")
    assert table["images"].tolist() == ["photo.png"]
    assert table["error"].tolist() == pytest.approx(numbers["anchors"]["error"])
    shards = [store.read_json(path) for path in only(results / "manifest").glob("image/*.json")]
    assert len(shards) == 2
    assert all(1 <= shard["batch_size"] <= 128 for shard in shards)


def test_nothing_is_left_to_do(photos):
    result = photos.run(*GIVEN, "--dry-run")
    assert "Nothing to be done" in result.stdout + result.stderr


def test_nothing_is_asked_of_a_network_or_left_outside_the_folder(photos, guarded, dream_files):
    folder, environment = guarded
    probe = "import socket; socket.create_connection(('127.0.0.1', 9))"
    result = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=False
    )
    assert "a test has no network" in result.stderr
    attempts = (folder / "guard" / "attempts").read_text().splitlines()
    assert [line for line in attempts if probe not in line] == []
    processes = (folder / "guard" / "processes").read_text()
    for script in ("create_anchors", "generate_samples", "create_embedding", "embed_samples"):
        assert f"{script}.py" in processes
    assert {path.name for path in photos.directory.iterdir()} == {
        *(path.name for path in dream_files.iterdir()),
        "results",
        ".snakemake",
    }
    # Snakemake keeps copies of the rules, matplotlib a list of fonts; nothing keeps a model.
    kept = {path.name for path in (folder / "home").rglob("*") if path.is_file()}
    assert [name for name in kept if name.endswith((".safetensors", ".bin", ".npy", ".zarr"))] == []
    assert not (folder / "home" / ".cache" / "huggingface").exists()


def test_a_plan_is_made_before_anything_else(workflow_in, dream_files, guarded, tmp_path):
    directory = shutil.copytree(dream_files, tmp_path / "run")
    change = {"defaults": {"system": {"steps": 1}}}  # the probe takes as many, of up to 64 images thrice
    workflow = workflow_in(directory, base=DREAMS, environment=guarded[1], **change)
    printed = workflow.run("plan", *GIVEN).stdout
    for pattern in (
        r"images +256 of 16 x 16 x 3 in 2 shards of 128\n",
        r"shards +0 sampled, 2 to do\n +0 embedded, 2 to do\n",
        r"memory +models [\d.]+ MB\n",
        r"sampling +.+ an image .+ to do\n",
        r"time +[\d.]+ device-hours to do",
    ):
        assert re.search(pattern, printed), printed
    made = {str(path.relative_to(directory / "results")) for path in (directory / "results").rglob("*")}
    assert made == {"logs", "logs/plan.log"}


# --- pipeline folders, an exported generator ---

PIPELINES = {
    "xl": "small_stable_diffusion_xl",
    "three": "small_stable_diffusion_3",
    "flux": "small_flux",
}
GUIDANCE = 3.0


def write_generator(file, weight):
    """``tanh(z W)`` as images, in ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = np.array([-1, 3, 4, 6])
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(shape, "shape")]
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "shape"], ["image"]),
    ]
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", len(weight)])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 4, 6])],
        constants,
    )
    # The oldest versions that have these operators, which every runtime reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, file)


@pytest.fixture(scope="module")
def drawn(workflow_in, small_checkpoint, guarded, shared_folder):
    """The images of four studies, each of another kind of model."""
    sampler = {"steps": 3, "guidance": GUIDANCE, "prompt": PROMPT}
    studies = {name: {"system": {"checkpoint": name, **sampler}} for name in PIPELINES}
    generator = {"kind": "generator", "checkpoint": "gan.onnx", "latent": [5], "size": [4, 6]}
    base = {
        "run": [*PIPELINES, "gan"],
        "defaults": {
            **SMALL,
            "embedding": {"kind": "pixels"},
            "sampling": {"grid": [8, 8], "shard": 64},
        },
        "studies": {**studies, "gan": {"system": generator}},
    }

    def build(folder):
        directory = folder / "run"
        for name, builder in PIPELINES.items():
            shutil.copytree(small_checkpoint(builder), directory / name)
        weight = np.random.default_rng(4).normal(size=(5, 72)).astype(np.float32) / 3
        write_generator(directory / "gan.onnx", weight)
        workflow_in(directory, base=base, environment=guarded[1]).run("--until", "generate_samples")

    workflow = workflow_in(shared_folder("drawn", build) / "run", base=base, environment=guarded[1])
    assert not list(workflow("results").glob("*/samples/*.zarr/embedding/*/c"))
    return workflow


@pytest.mark.parametrize("name", PIPELINES)
def test_images_of_a_folder_are_those_of_the_stock_pipeline(drawn, name):
    latents, images = latents_and_images(drawn(f"results/{name}"), np.array([0, 20, 63]), "sphere")
    expected = draw(stock(drawn(name), PIPELINES[name]), latents, steps=3, guidance=GUIDANCE)
    assert np.abs(images - expected).max() <= LEVEL
    assert np.abs(np.diff(images, axis=0)).mean() > 4, "images that are all alike would show nothing"


def test_images_of_a_generator_are_those_of_its_runtime(drawn):
    import onnxruntime

    latents, images = latents_and_images(drawn("results/gan"), np.arange(64), "sphere")
    session = onnxruntime.InferenceSession(drawn("gan.onnx"), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {"z": latents.astype(np.float32)})
    expected = np.round(255 * (values / 2 + 0.5)).transpose(0, 2, 3, 1).astype(int)
    assert np.abs(images - expected).max() <= LEVEL
    assert images.shape == (64, 4, 6, 3)


# --- a study on the samples of another ---


def test_a_comparison_sets_both_routes_side_by_side(routes):
    for kind in ("svg", "png", "csv"):
        assert routes(f"results/comparisons/routes.{kind}").stat().st_size > 0
    table = pd.read_csv(routes("results/comparisons/routes.csv"))
    assert table.groupby("route").size().to_dict() == {"distance-1": 256, "network-1": 256}
    assert table.groupby("route")["kernel"].first().to_dict() == {
        "distance-1": "gaussian",
        "network-1": "network",
    }


def test_what_differs_between_both_routes_is_measured(routes):
    folder = routes("results/comparisons/routes")
    assert {path.name for path in folder.glob("[!.]*")} == {
        "differences.nc", "differences.csv", "differences.json",
        "model_differences.svg", "model_differences.png", "model_differences.csv",
    }  # fmt: skip
    numbers = json.loads((folder / "differences.json").read_text())
    (network,) = numbers["models"]
    # The images are the same; a sampler without noise is moved by half a step.
    assert (network["keeps_image"]["value"], network["image_distance"]) == (1, 0)
    assert network["changed"]["posterior.kind"] == "network"
    assert (numbers["null"]["by"], numbers["null"]["cells"]) == ("half a grid step", 256)
    assert numbers["null"]["threshold"] > 0
    assert pd.read_csv(folder / "differences.csv")["study"].tolist() == ["network-1"]
    voucher = json.loads((folder / ".vouchers" / "differences.json.json").read_text())
    assert voucher["name"] == "differences.json"


def test_a_study_that_shares_samples_has_none_of_its_own(routes):
    for number in (1, 2):
        own = routes(f"results/network-{number}")
        assert not {"samples", "manifest", "anchors"} & {path.name for path in own.iterdir()}
        for name in NETWORK_FILES.values():
            assert (own / "posterior_network" / name).stat().st_size > 0
        anchors = np.load(only(routes(f"results/distance-{number}/anchors")) / "anchors.npy")
        seeds = (1, 1, 1) if number == 1 else (2, 3, 4)
        places = (0, 1, 2) if number == 1 else (0, 0, 0)
        expected = [random_anchors(seed, (3, 8, 8))[k] for seed, k in zip(seeds, places, strict=True)]
        np.testing.assert_array_equal(anchors, expected)
    images = [
        store.read_array(only(routes(f"results/distance-{k}/samples"), "*.zarr"), "image") for k in (1, 2)
    ]
    assert images[0].shape == images[1].shape == (256, 8, 8, 3)
    assert np.abs(np.subtract(*images, dtype=int)).mean() > 4


def test_the_posterior_of_a_network_comes_from_the_network(routes):
    numbers = store.read_json(routes("results/network-1/numbers/posterior.json"))
    assert "effective_cells_median" in numbers
    read, measured = (
        read_posterior(routes(f"results/{name}-1/posterior.zarr")) for name in ("network", "distance")
    )
    # Both give every source a mean inside the box.
    for posterior in (read, measured):
        assert posterior.mean.shape == (256, 2)
        assert np.abs(posterior.mean - 0.5).max() <= 1.5
    assert np.abs(read.mean - measured.mean).max() > 0.01


# --- what is refused before anything is made ---


def refused(workflow, *arguments):
    """The lines of a run that must stop before anything is made."""
    before = sorted(workflow.directory.rglob("*"))
    result = workflow.run("--dry-run", *arguments, check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout + result.stderr
    assert sorted(workflow.directory.rglob("*")) == before
    return [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]


def test_models_that_are_not_there_are_asked_for(workflow_in, dream_files, tmp_path):
    directory = shutil.copytree(dream_files, tmp_path / "run")
    lines = refused(workflow_in(directory, base=DREAMS), "--config", "checkpoint=nowhere.safetensors")
    assert len(lines) == 2, lines
    clip, checkpoint = lines
    assert clip.startswith("hessgeo: clip: null is not allowed; allowed: a weights file or a model folder")
    assert checkpoint.startswith("hessgeo: checkpoint: 'nowhere.safetensors' is not allowed; allowed: ")
    assert "nowhere.safetensors is missing" in checkpoint


def test_files_that_do_not_fit_stop_the_run(workflow_in, dream_files, small_checkpoint, tmp_path):
    directory = shutil.copytree(dream_files, tmp_path / "run")
    with (directory / "model.ckpt").open("wb") as file:
        pickle.dump({"state_dict": {}}, file)
    inpainting = shutil.copytree(small_checkpoint("small_stable_diffusion"), directory / "inpainting")
    index = json.loads((inpainting / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionInpaintPipeline"
    (inpainting / "model_index.json").write_text(json.dumps(index))
    Image.new("RGB", (24, 16)).save(directory / "wide.png")
    studies = {
        "pickled": {"system": {"checkpoint": "model.ckpt"}},
        "inpainting": {"system": {"checkpoint": "inpainting", "config": None}},
        "wide": {"slice": {"anchors": [1, "wide.png", 2]}},
        "sampler": {"system": {"scheduler": "EulerAncestral"}},
    }
    workflow = workflow_in(directory, base=DREAMS | {"run": [*studies], "studies": studies})
    lines = refused(workflow, *GIVEN)
    assert len(lines) == 4, lines
    pickled, wrong, wide, sampler = lines
    assert pickled.startswith("hessgeo: studies.pickled.system.checkpoint: 'model.ckpt' is not allowed; ")
    assert "pickle" in pickled
    assert wrong.startswith("hessgeo: studies.inpainting.system.checkpoint: 'inpainting' is not allowed; ")
    assert "inpainting is a StableDiffusionInpaintPipeline, must be one of " in wrong
    assert wide.startswith("hessgeo: studies.wide.slice.anchors: 'wide.png' is not allowed; allowed: ")
    assert "an image of 16 x 16 pixels" in wide
    assert "24 x 16" in wide
    assert sampler.startswith(
        "hessgeo: studies.sampler.system.scheduler: 'EulerAncestral' is not allowed; allowed: auto, "
    )
