"""Every setting of a system and an embedding does something, is known to do nothing, or is refused."""

import json
import re
import shutil

import numpy as np
import onnx
import pytest
import yaml
from checkpoints import single_file, small_lora, small_timm_weights
from onnx import TensorProto, helper, numpy_helper

from hessgeo.features import load_embedding
from hessgeo.models.digit_clip import build_clip, save_clip
from hessgeo.pipeline.derived import latent_shape, merged
from hessgeo.pipeline.loading import load_system
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.settings import SettingsError, read_settings
from hessgeo.systems.slices import random_anchors

TEXT = {"prompt": "a house", "steps": 4}
GUIDED = {**TEXT, "negative_prompt": "dull", "guidance": 3.0}
# What a study of each kind of model starts from.
BASE = {
    "ddim": {"steps": 4},
    "stable-diffusion": GUIDED,
    "stable-diffusion-xl": GUIDED,
    "stable-diffusion-3": GUIDED,
    "flux": {**TEXT, "guidance": 2.0},
    "schnell": TEXT,
    "generator": {"kind": "generator", "latent": [4], "size": [16, 16]},
}
BUILDERS = {
    "ddim": ("small_ddim", {}),
    "stable-diffusion": ("small_stable_diffusion", {}),
    "stable-diffusion-xl": ("small_stable_diffusion_xl", {}),
    "stable-diffusion-3": ("small_stable_diffusion_3", {}),
    "flux": ("small_flux", {}),
    "schnell": ("small_flux", {"guidance_embeds": False}),
}
NOISE = ("ddim", "stable-diffusion", "stable-diffusion-xl")
CLASSIFIER_FREE = ("stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3")
TEXT_TO_IMAGE = (*CLASSIFIER_FREE, "flux", "schnell")
DIFFUSION = ("ddim", *TEXT_TO_IMAGE)
# Of each key: a change of the base, the models whose samples it changes, and those whose samples it leaves alone.
# Everywhere else it is refused. Where a key needs others, these are changed in the base too.
SYSTEM = {
    "steps": ({"steps": 5}, DIFFUSION, ()),
    "eta": ({"eta": 0.5}, NOISE, ()),
    "eta_rule": ({"eta_rule": "renewal"}, NOISE, (), {"eta": 0.5}),
    "scheduler": ({"scheduler": "DPMSolverMultistepScheduler"}, NOISE, ()),
    "prompt": ({"prompt": "a dark tree"}, TEXT_TO_IMAGE, ()),
    "negative_prompt": ({"negative_prompt": "bright"}, CLASSIFIER_FREE, ()),
    "guidance": ({"guidance": 0.5}, (*CLASSIFIER_FREE, "flux"), ()),
    "clip_skip": ({"clip_skip": 1}, ("stable-diffusion",), ()),
    "lora": ({"lora": True}, TEXT_TO_IMAGE, ()),
    "dtype": ({"dtype": "bfloat16"}, DIFFUSION, ()),
    "batch_size": ({"batch_size": 1}, (), (*DIFFUSION, "generator")),
    "decode_batch_size": ({"decode_batch_size": 1}, (), TEXT_TO_IMAGE),
    "latent": ({"latent": [8]}, (), ()),
    "channels": ({"channels": 1}, (), ()),
    "output_range": ({"output_range": [-1.1, 1.1]}, ("generator",), ()),
    "inputs": ({"inputs": {"scale": 0.5}}, ("generator",), ()),
    "output": ({"output": "second"}, ("generator",), (), {"output": "image"}),
    "layout": ({"layout": "nchw"}, (), ("generator",)),
}
# What all text-to-image models share by the same lines of code is drawn with two of them, to save time.
SHARED = ("steps", "lora", "dtype", "batch_size", "decode_batch_size")
SPARED = ("stable-diffusion-xl", "stable-diffusion-3", "schnell")
# Their cases have a test of their own, but for compile, which changes rounding alone and takes minutes.
OTHERS = {"kind", "checkpoint", "config", "size", "compile", "images", "parameters"}


@pytest.fixture(scope="module")
def checkpoints(small_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    weight = np.random.default_rng(0).standard_normal((4, 3 * 16 * 16)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["linear"]),
        helper.make_node("Mul", ["linear", "scale"], ["scaled"]),
        helper.make_node("Tanh", ["scaled"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
        helper.make_node("Neg", ["image"], ["second"]),
    ]
    inputs = {"z": ["n", 4], "scale": []}  # of which the second has a value of its own
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.float32(1), "scale"),
            numpy_helper.from_array(np.array([-1, 3, 16, 16]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "generator.onnx")
    paths = {family: small_checkpoint(builder, **changes) for family, (builder, changes) in BUILDERS.items()}
    return {family: str(path) for family, path in (*paths.items(), ("generator", folder / "generator.onnx"))}


@pytest.fixture(scope="module")
def loras(checkpoints, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("loras"), {}

    def get(family):
        if family not in made:
            made[family] = str(small_lora(checkpoints[family], folder / f"{family}.safetensors"))
        return made[family]

    return get


@pytest.fixture(scope="module")
def base(repository):
    return yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def read(base, tmp_path, monkeypatch):
    """The complete settings of one study, or the lines that refuse it."""
    monkeypatch.chdir(tmp_path)

    def complete(**study):
        embedding = {"kind": "pixels"}
        change = {"studies": {"digits": {"embedding": embedding, **study}}}
        try:
            return read_settings(merged(base, change)).studies["digits"]
        except SettingsError as error:
            return str(error).splitlines()

    return complete


def draw(study, models=()):
    """Three images of a study's system."""
    system = study["system"]
    anchors = random_anchors(5, latent_shape(system, models))
    t = np.array([[0.1, 0.2], [0.7, 0.4], [0.5, 0.9]])
    loaded = load_system(system, system["checkpoint"], anchors, study["slice"], device="cpu", most=3)
    return loaded.sample(t, np.arange(3), 7)


@pytest.fixture(scope="module")
def drawn():
    """Images by settings, drawn once."""
    known = {}

    def get(study):
        key = json.dumps(study["system"], sort_keys=True)
        if key not in known:
            known[key] = draw(study)
        return known[key]

    return get


def test_the_table_names_every_setting():
    assert {*SYSTEM, *OTHERS} == set(defaults("system"))
    assert {*EMBEDDING, "kind", "checkpoint", "model", "file"} == set(defaults("embedding"))


@pytest.mark.parametrize("family", BASE)
@pytest.mark.parametrize("key", SYSTEM)
def test_a_setting_of_a_system_acts_or_is_refused(read, drawn, checkpoints, loras, family, key):
    change, changed, same, *needs = SYSTEM[key]
    base = {
        "checkpoint": checkpoints[family],
        **BASE[family],
        **(needs[0] if needs and family in changed else {}),
    }
    if change == {"lora": True}:
        source = family if family in changed else "flux"
        change = {"lora": [{"file": loras(source), "weight": 1.0}]}
    found = read(system={**base, **change})
    if family not in (*changed, *same):
        assert isinstance(found, list), f"{key} is accepted by {family}"
        assert [
            line for line in found if f"system.{key}" in line or (family == "generator" and len(found) == 1)
        ]
        return
    assert isinstance(found, dict), found
    if key in SHARED and family in SPARED:
        return
    first, second = drawn(read(system=base)), drawn(found)
    difference = np.abs(first.astype(int) - second).max()
    assert difference > 0 if family in changed else difference <= 1, (
        "another batch rounds differently, no more"
    )


def test_an_axis_may_be_an_input_of_a_generator(read, checkpoints):
    system = {"checkpoint": checkpoints["generator"], **BASE["generator"]}
    plane = {"axes": ["latent", {"input": "scale"}], "extent": [[0, 1], [0.1, 3]]}
    found = read(system=system, slice=plane)
    assert isinstance(found, dict), found
    images = draw(found)
    assert not np.array_equal(images[0], draw(read(system=system, slice={"extent": [[0, 1], [0.1, 3]]}))[0])
    for axes, change, words in (
        (
            ["latent", "guidance"],
            {},
            "slice.axes[1]: .* allowed: latent or {input: NAME} for the kind generator",
        ),
        (["latent", {"input": "scales"}], {}, "has no input 'scales', must be one of z, scale"),
        (
            ["latent", {"input": "scale"}],
            {"inputs": {"scale": 2}},
            "an input that has no value in system.inputs",
        ),
        ([{"input": "scale"}, {"input": "scale"}], {}, "two axes that are not of one kind, or both latent"),
    ):
        lines = read(system={**system, **change}, slice={**plane, "axes": axes})
        assert isinstance(lines, list), axes
        assert any(re.search(words.replace("[", r"\[").replace("{", r"\{"), line) for line in lines), lines


def test_an_input_of_a_generator_is_no_axis_of_a_diffusion_model(read, checkpoints):
    plane = {"axes": ["latent", {"input": "scale"}]}
    (line,) = read(system={"checkpoint": checkpoints["ddim"], **BASE["ddim"]}, slice=plane)
    assert "allowed: latent, guidance, {prompt: ..} or {lora: ..} for the kind diffusion" in line


@pytest.mark.parametrize("family", BASE)
def test_sizes_are_those_of_the_images(read, checkpoints, family):
    found = read(system={"checkpoint": checkpoints[family], **BASE[family], "size": [32, 16]})
    if family == "generator":  # its file makes 16 x 16
        assert isinstance(found, list)
    else:
        assert draw(found).shape == (3, 32, 16, 3)


def test_a_configuration_acts_on_a_single_file_and_is_refused_beside_a_folder(read, checkpoints, tmp_path):
    folder, file = (
        checkpoints["stable-diffusion"],
        single_file(checkpoints["stable-diffusion"], tmp_path / "x.safetensors"),
    )
    other = shutil.copytree(folder, tmp_path / "other")
    scheduler = other / "scheduler" / "scheduler_config.json"
    settings = json.loads(scheduler.read_text(encoding="utf-8"))
    scheduler.write_text(json.dumps({**settings, "prediction_type": "v_prediction"}), encoding="utf-8")
    one, two = (
        draw(read(system={**GUIDED, "checkpoint": str(file), "config": str(c)})) for c in (folder, other)
    )
    assert not np.array_equal(one, two)
    assert isinstance(read(system={**GUIDED, "checkpoint": folder, "config": str(other)}), list)


# --- what has no use among values that are otherwise fine ---


@pytest.mark.parametrize(
    ("family", "change", "key", "allowed"),
    [
        ("stable-diffusion", {"guidance": 0.0}, "prompt", "which leaves it out"),
        ("stable-diffusion", {"guidance": 1.0}, "negative_prompt", "which leaves it out"),
        ("stable-diffusion", {"eta_rule": "renewal"}, "eta_rule", "ddim where system.eta is 0"),
        ("stable-diffusion", {"clip_skip": 2}, "clip_skip", "at most 1"),
        ("stable-diffusion", {"prompt": "a house " * 2000}, "prompt", "a text of at most 10000 characters"),
        ("stable-diffusion-xl", {"clip_skip": 1}, "clip_skip", "at most 0"),
        ("stable-diffusion", {"steps": 1000}, "steps", "at most 999"),
        ("stable-diffusion", {"prompt": "a <lora:x:1> house"}, "prompt", "its file goes into system.lora"),
        (
            "stable-diffusion-xl",
            {"negative_prompt": "a AND b"},
            "negative_prompt",
            "a combination of prompts",
        ),
        ("stable-diffusion-3", {"prompt": "ab" * 300}, "prompt", "at most 256 tokens"),
        ("stable-diffusion-3", {"prompt": "(house:1.2)"}, "prompt", "no weights"),
        ("flux", {"prompt": "ab" * 600}, "prompt", "at most 512 tokens"),
        ("schnell", {"guidance": 3.5}, "guidance", "1.0 for a model without guidance"),
        ("flux", {"clip_skip": 1}, "clip_skip", "null or 0"),
        ("generator", {"steps": 25}, "steps", "nothing for the kind generator"),
        ("generator", {"dtype": "float16"}, "dtype", "float32 for the kind generator"),
        ("ddim", {"decode_batch_size": 8}, "decode_batch_size", "nothing for a model without an autoencoder"),
    ],
)
def test_what_would_do_nothing_is_refused_in_one_line(read, checkpoints, family, change, key, allowed):
    lines = read(system={"checkpoint": checkpoints[family], **BASE[family], **change})
    assert isinstance(lines, list)
    assert len(lines) == 1
    assert lines[0].startswith(f"hessgeo: studies.digits.system.{key}: ")
    assert allowed in lines[0]


def test_a_lora_of_no_weight_is_refused(read, checkpoints, loras):
    lora = {"file": loras("flux"), "weight": 0.0}
    (line,) = read(system={"checkpoint": checkpoints["flux"], **BASE["flux"], "lora": [lora]})
    assert line.startswith(
        "hessgeo: studies.digits.system.lora[0].weight: 0.0 is not allowed; allowed: another"
    )


def test_long_and_weighted_prompts_are_taken_where_they_are_read(read, checkpoints):
    for prompt in ("a (bright:1.4) house BREAK [dull]", "a house " * 60):
        for family in ("stable-diffusion", "stable-diffusion-xl"):
            assert isinstance(
                read(system={"checkpoint": checkpoints[family], **GUIDED, "prompt": prompt}), dict
            )
    plain = {"checkpoint": checkpoints["stable-diffusion-3"], **GUIDED, "prompt": r"a house \(old\) " * 10}
    assert isinstance(read(system=plain), dict)


# --- the embedding ---

KINDS = ("open_clip", "timm", "network", "pixels")
EMBEDDING = {
    "input": ({"input": {"mean": 0.2, "std": 0.3}}, ("network",), ()),
    "output": ({"output": "linear"}, ("network",), ()),
    "size": ({"size": 24}, KINDS, ()),
    "dtype": ({"dtype": "bfloat16"}, ("open_clip", "timm"), ()),
    "batch_size": ({"batch_size": 1}, (), KINDS),
}


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("embeddings"), {"pixels": {"kind": "pixels"}}
    file = folder / "timm.safetensors"
    found["timm"] = {"kind": "timm", "model": small_timm_weights(file), "checkpoint": str(file)}
    save_clip(folder / "clip", build_clip(width=16, layers=1, dimension=12).eval())
    pixels = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])
    features = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    weight = (0.02 * np.random.default_rng(1).standard_normal((3 * 16 * 16, 5))).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "e", [pixels], [features], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "features.onnx")
    network = {
        "kind": "network",
        "checkpoint": str(folder / "features.onnx"),
        "input": {"mean": 0.5, "std": 0.5},
    }
    return {
        **found,
        "network": network,
        "open_clip": {"kind": "open_clip", "checkpoint": str(folder / "clip")},
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", EMBEDDING)
def test_a_setting_of_an_embedding_acts_or_is_refused(read, checkpoints, embeddings, kind, key):
    change, changed, same = EMBEDDING[key]
    system = {"checkpoint": checkpoints["generator"], **BASE["generator"]}
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    found = [read(system=system, embedding={**embeddings[kind], **more}) for more in ({}, change)]
    if kind not in (*changed, *same):
        assert isinstance(found[1], list)
        return
    one, two = (
        load_embedding(study["embedding"], study["embedding"]["checkpoint"], (48, 48, 3), device="cpu")(
            images
        )
        for study in found
    )
    assert np.array_equal(one, two) == (kind in same)


@pytest.mark.parametrize(
    ("change", "key"), [({"model": "ViT-B-32"}, "model"), ({"checkpoint": "x.safetensors"}, "checkpoint")]
)
def test_pixels_have_no_model(read, change, key):
    (line,) = read(embedding={"kind": "pixels", **change})
    assert line.startswith(f"hessgeo: studies.digits.embedding.{key}: ")
    assert line.startswith("hessgeo: ")


def test_an_embedded_clip_has_no_model(read):
    (line,) = read(embedding={"kind": "open_clip", "model": "ViT-B-32"})
    assert line.endswith("allowed: null for an embedded CLIP")
