"""A store is called by what its samples depend on, an embedding by what it depends on, and both by nothing else."""

import os
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.settings import merged, read_settings

PIXELS = {"kind": "pixels"}
DIFFERENT, SAME = "different", "same"


@pytest.fixture
def study(config, tmp_path, monkeypatch):
    """The layout of a study with changes of the defaults, in a folder of its own; the settings are read once."""
    monkeypatch.chdir(tmp_path)
    settings = read_settings(config)

    def make(*changes, models=None):
        changed = settings.studies["digits"]
        for change in changes:
            changed = merged(changed, change)
        return Layout(
            replace(settings, studies={"digits": changed}, models=models or settings.models), tmp_path
        ).of("digits")

    return make


@pytest.fixture
def dream(small_checkpoint, tmp_path):
    """Settings of a study of a small Stable Diffusion and a LoRA in files, and copies of them under other names."""
    import checkpoints

    pipeline = small_checkpoint("small_stable_diffusion")
    shutil.copytree(pipeline, tmp_path / "dream")
    checkpoints.small_lora(pipeline, tmp_path / "lora.safetensors")
    checkpoints.small_lora(pipeline, tmp_path / "other.safetensors", seed=1)
    shutil.copy(tmp_path / "lora.safetensors", tmp_path / "moved.safetensors")
    system = {"checkpoint": "dream", "prompt": "a house", "guidance": 2.0, "eta": 0.0}
    return {"system": {**system, "lora": [{"file": "lora.safetensors", "weight": 0.5}]}, "embedding": PIXELS}


def lora(file="lora.safetensors", weight=0.5):
    return [{"file": file, "weight": weight}]


# What every setting does to the name of a store of a diffusion model; a setting that is added needs its line.
OF_DIFFUSION = [
    ("checkpoint", "copy", SAME),
    ("size", [16, 16], SAME),  # the model's own
    ("size", [32, 16], DIFFERENT),
    ("steps", 24, DIFFERENT),
    ("eta", 0.5, DIFFERENT),
    ("eta_rule", "renewal", DIFFERENT),
    ("scheduler", "EulerDiscreteScheduler", DIFFERENT),
    ("prompt", "a hut", DIFFERENT),
    ("negative_prompt", "dull", DIFFERENT),
    ("clip_skip", 1, DIFFERENT),
    ("guidance", 3.0, DIFFERENT),
    ("guidance", 2, SAME),
    ("lora", [], DIFFERENT),
    ("lora", lora(weight=0.6), DIFFERENT),
    ("lora", lora("other.safetensors"), DIFFERENT),
    ("lora", lora("moved.safetensors"), SAME),
    ("dtype", "float16", DIFFERENT),
    ("compile", True, SAME),
    ("batch_size", "auto", SAME),
    ("batch_size", 3, SAME),
    ("decode_batch_size", 1, SAME),
]
OF_GENERATOR = [
    ("kind", None, None),  # tried by the other study
    ("config", None, None),  # of a single file, tried below
    ("checkpoint", "copy.pt", SAME),
    ("checkpoint", "other.pt", DIFFERENT),
    ("latent", [5], DIFFERENT),
    ("size", [8, 10], DIFFERENT),
    ("channels", 3, DIFFERENT),
    ("output_range", [0, 1], DIFFERENT),
    ("output_range", [-1.0, 1.0], SAME),
    ("inputs", {"c": 1.0}, None),  # of a file that has more, tried below
    ("output", "0", DIFFERENT),
    ("layout", "nchw", DIFFERENT),
    ("batch_size", 7, SAME),
    ("images", None, None),  # of samples of one's own, tried in test_own_samples.py
    ("parameters", None, None),
]
OF_SLICE = [
    ("anchors", 5, DIFFERENT),
    ("anchors", [38, 38, 38], DIFFERENT),
    ("triplets", None, None),  # each becomes the anchors of a study
    ("extent", [[-1, 2], [-1, 1]], DIFFERENT),
    ("extent", [[-1.0, 2.0], [-1, 2]], SAME),
    ("normalisation", "std", DIFFERENT),
    ("inversion", {"iterations": 3}, SAME),  # no anchor is an image
    ("interpolation", "spherical", DIFFERENT),
    ("interpolation", "linear", SAME),
    ("axes", ["latent", "latent"], SAME),
]
# The same of a model that has conditions.
OF_AXES = [
    (["latent", "guidance"], DIFFERENT),
    (["guidance", "latent"], DIFFERENT),
    (["latent", {"prompt": "a hut"}], DIFFERENT),
    (["latent", {"prompt": "a tent"}], DIFFERENT),
    (["latent", {"lora": "lora.safetensors"}], DIFFERENT),
    (["latent", {"lora": "other.safetensors"}], DIFFERENT),
]
OF_SAMPLING = [
    ("design", "uniform", None),  # needs a count, tried below
    ("grid", [32, 64], DIFFERENT),
    ("count", None, None),
    ("shard", 512, SAME),
    ("shards_per_job", 2, SAME),
]
OF_EMBEDDING = [
    ("kind", "pixels", DIFFERENT),
    ("checkpoint", "copy.safetensors", SAME),
    ("checkpoint", "other.safetensors", DIFFERENT),
    ("model", None, None),
    ("file", None, None),  # of features of one's own, tried in test_own_samples.py
    ("size", 4, DIFFERENT),
    ("input", None, None),  # of the kind network, tried below
    ("output", None, None),
    ("dtype", "float16", DIFFERENT),
    ("batch_size", 7, SAME),
]


def tried(cases):
    return [case for case in cases if case[2] is not None]


def check(before, after, effect):
    assert (before == after) == (effect == SAME), (before, after)


@pytest.mark.parametrize(
    ("part", "cases"),
    [
        ("system", [*OF_DIFFUSION, *OF_GENERATOR]),
        ("slice", OF_SLICE),
        ("sampling", OF_SAMPLING),
        ("embedding", OF_EMBEDDING),
    ],
)
def test_every_setting_has_been_decided_on(part, cases):
    assert {name for name, _, _ in cases} >= set(defaults(part))


def test_images_of_a_diffusion_model(study, dream):
    shutil.copytree("dream", "copy")
    before = study(dream).system.name
    for key, value, effect in OF_DIFFUSION:
        check(before, study(dream, {"system": {key: value}}).system.name, effect)


def test_images_along_conditions(study, dream):
    dream["system"]["guidance"] = 1.0
    names = [study(dream).system.name]
    names += [study(dream, {"slice": {"axes": axes}}).system.name for axes, _ in OF_AXES]
    assert len({*names}) == len(names)
    # A LoRA is known by what its file holds, along an axis too.
    moved = study(dream, {"slice": {"axes": ["latent", {"lora": "moved.safetensors"}]}})
    assert moved.system.name == names[1 + 4]
    change_a_byte(Path("moved.safetensors"))
    with (
        pytest.raises(ValueError, match=r"moved\.safetensors changed since the run was planned"),
        moved.system.reading(),
    ):
        pass


def test_images_of_a_generator(study):
    for name, weight in (("generator.pt", 0.0), ("other.pt", 1.0)):
        module = torch.nn.Linear(4, 4)
        torch.nn.init.constant_(module.weight, weight)
        torch.nn.init.zeros_(module.bias)
        torch.jit.trace(module, torch.zeros(1, 4)).save(name)
    shutil.copy("generator.pt", "copy.pt")
    base = {"kind": "generator", "checkpoint": "generator.pt", "latent": [4], "size": [8, 8], "channels": 1}
    before = study({"system": base, "embedding": PIXELS}).system.name
    for key, value, effect in tried(OF_GENERATOR):
        after = study({"system": {**base, key: value}}).system.name
        check(before, after, effect)


@pytest.mark.parametrize(
    ("part", "key", "value", "effect"),
    [
        *(("slice", *case) for case in tried(OF_SLICE)),
        *(("sampling", *case) for case in tried(OF_SAMPLING)),
    ],
)
def test_images_of_the_embedded_model(study, part, key, value, effect):
    before, after = study(), study({part: {key: value}})
    check(before.system.name, after.system.name, effect)
    if key == "shard":
        assert after.store != before.store, "a store of other shards is another store of the same samples"


def test_points_of_a_scattered_design(study):
    first = study({"sampling": {"design": "uniform", "count": 4096}}).store
    assert study({"sampling": {"design": "uniform", "count": 4096, "grid": [48, 48]}}).store == first
    assert study({"sampling": {"design": "uniform", "count": 8192}}).store != first
    assert study({"sampling": {"design": "sobol", "count": 4096}}).store != first


def test_training_is_part_of_what_a_trained_model_gives(study, config):
    before = study()
    models = deepcopy(dict(before.settings.models))
    models["digits"]["diffusion"]["steps"] += 1
    after = study(models=models)
    assert after.system.name != before.system.name
    assert after.embedder.name == before.embedder.name
    assert after.system.planned is None, "its files are not there when the run is planned"


@pytest.fixture
def timm_weights(tmp_path):
    """Two encoders in files, and a copy of the first."""
    import checkpoints

    model = checkpoints.small_timm_weights(tmp_path / "vit.safetensors")
    checkpoints.small_timm_weights(tmp_path / "other.safetensors", seed=1)
    shutil.copy(tmp_path / "vit.safetensors", tmp_path / "copy.safetensors")
    return {"kind": "timm", "checkpoint": "vit.safetensors", "model": model}


def test_embeddings(study, timm_weights):
    before = study({"embedding": timm_weights}).embedding_array
    for key, value, effect in tried(OF_EMBEDDING):
        model = {"model": None} if value == "pixels" else {}
        after = study({"embedding": {**timm_weights, **model, key: value}}).embedding_array
        check(before, after, effect)
    samples = study({"embedding": timm_weights}).store
    assert study({"embedding": {**timm_weights, "checkpoint": "other.safetensors"}}).store == samples


# --- files ---


def change_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def folder_files(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def test_every_file_of_a_folder_counts(study, dream):
    def name():
        return study(dream).system.name

    before, names = name(), set()
    planned = study(dream).system_model.files
    assert {*map(Path, planned)} == {*folder_files("dream"), Path("lora.safetensors")}
    for path in map(Path, planned):
        data, status = path.read_bytes(), path.stat()
        if path.suffix == ".json":
            path.write_bytes(data + b" ")
        else:
            change_a_byte(path)
        os.utime(path, ns=(0, 0))
        names.add(name())
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert name() == before
    assert len(names | {before}) == len(planned) + 1


def test_a_checkpoint_moved_over_another_with_an_older_date_is_another(study, dream):
    weights = Path("dream/unet/diffusion_pytorch_model.safetensors")
    before = study(dream).store
    tensors = load_file(weights)
    save_file({key: 2 * value for key, value in tensors.items()}, "new.safetensors", {"format": "pt"})
    assert Path("new.safetensors").stat().st_size == weights.stat().st_size
    os.utime("new.safetensors", ns=(0, 0))
    os.replace("new.safetensors", weights)
    assert study(dream).store != before


def test_a_single_file_is_known_by_its_content_and_its_configuration(study, dream, small_checkpoint):
    import checkpoints

    folder = checkpoints.configuration_only("dream", Path("config"))
    checkpoints.single_file("dream", Path("a.safetensors"))
    single = {"system": {"checkpoint": "a.safetensors", "config": str(folder)}}
    before = study(dream, single).store
    os.rename("a.safetensors", "b.safetensors")
    os.rename("config", "settings")
    moved = {"system": {"checkpoint": "b.safetensors", "config": "settings"}}
    assert study(dream, moved).store == before
    file = Path("settings/scheduler/scheduler_config.json")
    file.write_text(file.read_text().replace("0.012", "0.013"))
    assert study(dream, moved).store != before


@pytest.mark.parametrize("kind", ["latent", "image"])
def test_anchors_are_known_by_their_content_and_inversion_counts_for_images_alone(study, dream, kind):
    if kind == "image":
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("a.png")
        place, moved = "a.png", "b.png"
    else:
        np.save("a.npy", np.ones((4, 8, 8)))
        place, moved = "a.npy", "b.npy"

    def name(source, iterations=10):
        plane = {"anchors": [source, 1, 2], "inversion": {"iterations": iterations}}
        return study(dream, {"slice": plane}).store

    before, again = name(place), name(place, iterations=4)
    assert (again == before) == (kind == "latent")
    os.rename(place, moved)
    assert name(moved) == before
    change_a_byte(Path(moved)) if kind == "latent" else Image.fromarray(np.ones((16, 16, 3), np.uint8)).save(
        moved
    )
    assert name(moved) != before


def test_neither_a_path_nor_a_batch_is_a_param_that_snakemake_compares(study, dream, timm_weights):
    """What is no plain value makes no job due again: the paths of files stand in such params alone."""
    layout = study(dream, {"embedding": timm_weights})
    compared = repr((layout.sampling, layout.embedding, layout.plane, layout.geodesics))
    for file in (*layout.system_model.files, *layout.embedding_model.files):
        assert file not in compared
    assert "batch" not in compared
    plain = (dict, list, tuple, str)
    assert not any(
        isinstance(source, plain)
        for source in (layout.system, layout.embedder, layout.anchors, layout.perceiver)
    )


def test_weights_beside_an_onnx_file_count(study, tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 192), np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 3, 8, 8]), "shape")
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["x"]),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    ends = [("z", ["n", 4]), ("y", ["n", 3, 8, 8])]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)] for name, axes in ends]
    graph = helper.make_graph(nodes, "g", *values, [weight, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    Path("here").mkdir()
    onnx.save(model, "here/g.onnx", save_as_external_data=True, location="g.onnx.data", size_threshold=0)
    system = {"kind": "generator", "checkpoint": "here/g.onnx", "latent": [4], "size": [8, 8]}
    layout = study({"system": system, "embedding": PIXELS})
    assert layout.system_model.files == ["here/g.onnx", "here/g.onnx.data"]
    before = layout.store
    os.rename("here", "there")
    moved = {"system": {**system, "checkpoint": "there/g.onnx"}, "embedding": PIXELS}
    assert study(moved).store == before
    change_a_byte(Path("there/g.onnx.data"))
    os.utime("there/g.onnx.data", ns=(0, 0))
    assert study(moved).store != before


def test_further_inputs_of_a_generator_count(study):
    class Scaled(torch.nn.Module):
        def forward(self, z, scale):
            return z * scale

    torch.jit.script(Scaled()).save("scaled.pt")
    base = {
        "kind": "generator",
        "checkpoint": "scaled.pt",
        "latent": [1, 8, 8],
        "size": [8, 8],
        "channels": 1,
    }

    def name(**inputs):
        return study({"system": {**base, "inputs": inputs}, "embedding": PIXELS}).system.name

    assert name(scale=2) == name(scale=2.0) != name(scale=3)


def test_embeddings_by_a_network_in_a_file(study):
    class Features(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1), -x.flatten(1)

    torch.jit.script(Features()).save("features.pt")
    base = {
        "kind": "network",
        "checkpoint": "features.pt",
        "output": "0",
        "input": {"mean": 0.5, "std": 0.25},
    }
    before = study({"embedding": base}).embedding_array
    shutil.copy("features.pt", "moved.pt")
    assert study({"embedding": {**base, "checkpoint": "moved.pt"}}).embedding_array == before
    for change in (
        {"output": "1"},
        {"input": {"mean": 0.4, "std": 0.25}},
        {"input": {"mean": 0.5, "std": 0.25, "channels": "bgr"}},
        {"input": {"mean": 0.5, "std": 0.25, "size": [8, 8]}},
    ):
        assert study({"embedding": {**base, **change}}).embedding_array != before, change
