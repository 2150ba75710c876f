"""Embeddings: unit vectors, checkpoints of open_clip and timm against the libraries by hand, the Dask map."""

import json
import socket
import sys
from dataclasses import replace
from functools import partial

import dask.array as da
import numpy as np
import open_clip
import pytest
import timm
import torch
from imports import heavy_after
from PIL import Image
from safetensors.torch import save_file

import hessgeo.features.open_clip as embeddings_of_open_clip
from hessgeo.features import (
    EMBEDDINGS,
    Embedding,
    FeatureCheckpoint,
    describe_embedding,
    embed,
    load_embedding,
)
from hessgeo.features.pixels import PixelEmbedding
from hessgeo.features.shrunk import shrunk
from hessgeo.features.timm import architectures
from hessgeo.models.digit_clip import build_clip, save_clip


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return build_clip(width=16, layers=1, dimension=12).eval()


@pytest.fixture
def checkpoint(clip, tmp_path):
    save_clip(tmp_path / "clip", clip)
    return tmp_path / "clip"


def load(kind, path, model=None, **options):
    return describe_embedding(kind, path, model).load(**options)


def check(kind, path, model=None):
    describe_embedding(kind, path, model).check()


def images(n=11, size=8, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def smooth_image(size=64):
    """A picture without detail finer than a few pixels, as the resampling of two libraries agrees on."""
    y, x = np.mgrid[:size, :size] / size
    channels = [np.sin(5 * x + 3 * y), np.cos(4 * x * y), np.sin(6 * y)]
    return np.round(127.5 + 100 * np.stack(channels, axis=-1)).astype(np.uint8)


def test_folder_embeds_as_the_original_model(clip, checkpoint):
    embedding = load("open_clip", checkpoint)
    x = torch.from_numpy(images()).permute(0, 3, 1, 2).expand(-1, 3, -1, -1) / 127.5 - 1
    with torch.inference_mode():
        expected = clip.encode_image(x, normalize=True).numpy()
    # One float32 rounding of the standardisation, carried through the tower.
    assert np.allclose(embedding(images()), expected, atol=1e-6)
    assert embedding.dimension == describe_embedding("open_clip", checkpoint).dimension((8, 8, 1)) == 12


def test_grey_images_embed_as_their_rgb_copies(checkpoint):
    embedding = load("open_clip", checkpoint)
    assert np.array_equal(embedding(images()), embedding(np.repeat(images(), 3, axis=3)))


def test_preprocessing_is_open_clips_own(checkpoint):
    embedding = load("open_clip", checkpoint)
    image = smooth_image()
    transform = open_clip.image_transform(
        8, is_train=False, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash", interpolation="bicubic"
    )
    ours, theirs = embedding.preprocess(image[None])[0], transform(Image.fromarray(image))
    # Pillow rounds to 8 bits after each of two passes: up to a level of 2/255 in these units.
    assert (ours - theirs).abs().max().item() < 2.1 / 255
    assert theirs.std().item() > 0.2


def test_mean_and_std_come_from_the_folder(checkpoint):
    path = checkpoint / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0]}
    path.write_text(json.dumps(config))
    x = load("open_clip", checkpoint).preprocess(np.full((1, 8, 8, 1), 255, dtype=np.uint8))
    assert torch.allclose(x[0, :, 0, 0], torch.tensor([1.8, 3.2, 0.7]), atol=1e-6)


@pytest.mark.parametrize("kind", ["clip", "pixels"])
def test_rows_are_unit_vectors(kind, checkpoint):
    embedding = load("open_clip", checkpoint) if kind == "clip" else PixelEmbedding((8, 8, 1))
    extremes = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 255)]).astype(np.uint8)
    vectors = embedding(np.concatenate([images(), extremes]))
    assert vectors.dtype == np.float32
    assert vectors.shape == (13, embedding.dimension)
    # Two float32 roundings of the norm.
    assert np.allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=3e-7)


def test_pixel_distances_are_those_of_centred_images():
    black, white = np.zeros((1, 8, 8, 1), dtype=np.uint8), np.full((1, 8, 8, 1), 255, dtype=np.uint8)
    embedding = PixelEmbedding((8, 8, 1))
    assert np.allclose(embedding(black), -embedding(white))
    x = images(2)
    centred = (x.reshape(2, -1).astype(float) - 127.5) / np.linalg.norm(x.reshape(2, -1) - 127.5, axis=1)[
        :, None
    ]
    assert np.allclose(embedding(x), centred, atol=1e-6)
    with pytest.raises(ValueError, match=r"\(8, 8, 3\)"):
        embedding(images(channels=3))


@pytest.mark.parametrize("kind", ["clip", "pixels"])
def test_map_does_not_depend_on_chunks_or_threads(kind, checkpoint):
    embedding = load("open_clip", checkpoint) if kind == "clip" else PixelEmbedding((8, 8, 1))
    x = images(23)
    whole = embedding(x)
    for chunks in [(23, 8, 8, 1), (7, 8, 8, 1), (1, 4, 8, 1)]:
        mapped = embed(da.from_array(x, chunks=chunks), embedding, threads=2)
        assert mapped.dtype == np.float32
        # Matrix products round differently for another number of rows.
        assert np.allclose(mapped, whole, atol=1e-6)


def test_map_runs_one_task_a_chunk():
    class Counting(Embedding):
        dimension = 2

        def __init__(self):
            self.rows = []

        def __call__(self, x):
            self.rows.append(len(x))
            return np.tile(np.array([0.6, 0.8], dtype=np.float32), (len(x), 1))

    counting = Counting()
    embed(da.from_array(images(10), chunks=(4, 8, 8, 1)), counting, threads=2)
    assert sorted(counting.rows) == [2, 4, 4]


@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_map_refuses_rows_that_are_no_unit_vectors(value):
    class Broken(PixelEmbedding):
        def __call__(self, x):
            vectors = super().__call__(x)
            vectors[x[:, 0, 0, 0] == 77] = value
            return vectors

    x = images(6)
    x[:, 0, 0, 0] = [1, 2, 3, 77, 4, 5]
    with pytest.raises(FloatingPointError, match="image 3 has norm"):
        embed(da.from_array(x, chunks=(2, 8, 8, 1)), Broken((8, 8, 1)), threads=1)


def test_map_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        embed(da.zeros((0, 8, 8, 1), dtype=np.uint8), PixelEmbedding((8, 8, 1)), threads=1)


def pickle_weights(folder):
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({}, folder / "open_clip_pytorch_model.bin")


def edit_model(**changes):
    def change(folder):
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        config["model_cfg"] = {k: v for k, v in (config["model_cfg"] | changes).items() if v is not None}
        path.write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "open_clip_config.json").unlink(), r"no open_clip_config\.json"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{"), "not valid JSON"),
        (pickle_weights, "pickled weights .* refused"),
        (edit_model(embed_dim=None), "lacks model_cfg.embed_dim"),
    ],
)
def test_other_folders_are_refused_in_one_line(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(ValueError, match=message) as raised:
        load("open_clip", checkpoint)
    assert "\n" not in str(raised.value)


def test_other_channel_counts_are_refused(checkpoint):
    with pytest.raises(ValueError, match="2 channels"):
        load("open_clip", checkpoint)(images(channels=2))


def test_registry():
    for kind in EMBEDDINGS:
        assert isinstance(describe_embedding(kind, "somewhere"), FeatureCheckpoint)
    with pytest.raises(ValueError, match="not one of file, network, open_clip, pixels, timm"):
        describe_embedding("lpips", "somewhere")


# Files of weights with the name of their model. TINY is an architecture that open_clip does not come with, small
# enough for a test, registered in open_clip and in ours alike; TIMM is one of timm's own for tests.

TINY, TIMM = "ViT-tiny-test", "test_vit2"
TINY_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The file of a whole CLIP of open_clip, and the CLIP."""
    folder = tmp_path / "configurations"
    folder.mkdir()
    (folder / f"{TINY}.json").write_text(json.dumps(TINY_CONFIG))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [folder])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    open_clip.add_model_config(folder)
    built_in = embeddings_of_open_clip.built_in_models()
    models = {**built_in, TINY: folder / f"{TINY}.json"}
    monkeypatch.setattr(embeddings_of_open_clip, "built_in_models", lambda: models)
    torch.manual_seed(1)
    model = open_clip.create_model(TINY, load_weights=False).eval()
    path = tmp_path / "clip.safetensors"
    save_file(model.state_dict(), path)
    return path, model


@pytest.fixture
def network(tmp_path):
    """The file of a network of timm with its classifier, and the network without."""
    torch.manual_seed(2)
    whole = timm.create_model(TIMM, num_classes=10).eval()
    path = tmp_path / "timm.safetensors"
    save_file(whole.state_dict(), path)
    features = timm.create_model(TIMM, num_classes=0).eval()
    features.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("head.")})
    return path, features


def unit(features):
    return torch.nn.functional.normalize(features, dim=1).numpy()


@torch.inference_mode()
def test_file_of_open_clip_embeds_as_the_library(tiny):
    path, model = tiny
    embedding = load("open_clip", path, model=TINY)
    x = images(3, size=48, channels=3)
    # The same sums in the same order.
    assert np.allclose(embedding(x), unit(model.encode_image(embedding.preprocess(x))), atol=1e-6)
    assert (
        embedding.dimension == describe_embedding("open_clip", str(path), TINY).dimension((48, 48, 3)) == 24
    )


@pytest.mark.parametrize("prefix", ["visual.", "module.visual."])
def test_the_image_tower_alone_is_enough(tiny, tmp_path, prefix):
    path, model = tiny
    tower = {f"{prefix}{key}": value for key, value in model.visual.state_dict().items()}
    save_file(tower, tmp_path / "tower.safetensors")
    x = images(2, size=32, channels=3)
    check("open_clip", str(tmp_path / "tower.safetensors"), TINY)
    alone = load("open_clip", tmp_path / "tower.safetensors", model=TINY)
    assert np.array_equal(alone(x), load("open_clip", path, model=TINY)(x))


def test_text_tower_on_a_hub_is_not_needed(clip, checkpoint):
    x = images()
    expected = load("open_clip", checkpoint)(x)
    edit_model(text_cfg={"hf_model_name": "roberta-base"})(checkpoint)
    assert np.array_equal(load("open_clip", checkpoint)(x), expected)


def test_built_in_models_are_known_and_their_trainings_preprocess():
    from hessgeo.features.open_clip import _preprocessing

    half, openai = (0.5, 0.5, 0.5), open_clip.OPENAI_DATASET_MEAN
    assert _preprocessing("ViT-B-16-SigLIP", "")["mean"] == half
    assert _preprocessing("ViT-B-32-quickgelu", "openai")["mean"] == openai
    # Trainings that disagree leave open_clip's own default.
    assert _preprocessing("ViT-L-14", "") == {}
    assert _preprocessing("ViT-L-14", "laion2b_s32b_b82k")["mean"] == half
    with pytest.raises(ValueError, match="loaded as ViT-B-32-quickgelu"):
        _preprocessing("ViT-B-32", "openai")
    with pytest.raises(ValueError, match="no training 'laion'"):
        _preprocessing("ViT-B-32", "laion")
    dimensions = {name: open_clip.get_model_config(name)["embed_dim"] for name in open_clip.list_models()}
    known = embeddings_of_open_clip.built_in_models()
    assert {name: json.loads(known[name].read_text())["embed_dim"] for name in dimensions} == dimensions


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-H-14", "RN50x4", "coca_ViT-B-32", "ViT-S-32-alt"])
def test_expected_shapes_are_those_of_open_clip(name):
    with torch.device("meta"):
        model = open_clip.create_model(name, load_weights=False, device="meta")
    config = json.loads(embeddings_of_open_clip.built_in_models()[name].read_text())
    expected = dict(embeddings_of_open_clip._expected_shapes(config))
    assert {key: tuple(model.state_dict()[key].shape) for key in expected} == expected


@torch.inference_mode()
def test_file_of_timm_embeds_as_the_library(network):
    path, features = network
    embedding = load("timm", path, model=TIMM, image_shape=(48, 48, 3))
    x = images(3, size=48, channels=3)
    assert np.allclose(embedding(x), unit(features(embedding.preprocess(x))), atol=1e-6)
    assert embedding.dimension == describe_embedding("timm", str(path), TIMM).dimension((48, 48, 3)) == 64
    # Sums of single precision, in an order that follows the memory that a kernel is given.
    grey = x[..., :1]
    assert np.allclose(embedding(grey), embedding(np.repeat(grey, 3, axis=3)), rtol=0, atol=1e-6)


def test_preprocessing_is_timms_own(network):
    path, features = network
    embedding = load("timm", path, model=TIMM)
    data = timm.data.resolve_model_data_config(features) | {"crop_pct": 1.0, "crop_mode": "squash"}
    image = smooth_image(96)
    theirs = timm.data.create_transform(**data, is_training=False)(Image.fromarray(image))
    # As of open_clip's: Pillow rounds to 8 bits after each of two passes, up to a level of 1/255 over std.
    level = 1.05 / 255 / min(data["std"])
    assert (embedding.preprocess(image[None])[0] - theirs).abs().max().item() < level
    assert theirs.std().item() > 0.2


def test_folder_of_timm_embeds_as_its_file(network, tmp_path):
    path, features = network
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(features.state_dict(), folder / "model.safetensors")
    settings = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 64, 64], "num_classes": 0}
    config = {"architecture": TIMM, "num_classes": 0, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config))
    check("timm", str(folder), None)
    embedding = load("timm", folder)
    x = images(2, size=64, channels=3)
    # The folder says another mean, std and size than the architecture does by itself.
    preprocessing = replace(
        load("timm", path, model=TIMM).preprocessing, size=(64, 64), mean=(0.5,) * 3, std=(0.5,) * 3
    )
    assert embedding.preprocessing == preprocessing
    assert np.allclose(np.linalg.norm(embedding(x), axis=1), 1, atol=3e-7)
    assert describe_embedding("timm", str(folder)).files() == [
        f"{folder}/config.json",
        f"{folder}/model.safetensors",
    ]


def test_weights_of_the_authors_of_dinov2_are_translated(network, tmp_path):
    path, features = network
    theirs = {**features.state_dict(), "mask_token": torch.zeros(1, 64)}
    save_file(theirs, tmp_path / "dino.safetensors")
    x = images(2, size=32, channels=3)
    loaded = load("timm", tmp_path / "dino.safetensors", model=TIMM)
    assert np.array_equal(loaded(x), load("timm", path, model=TIMM)(x))


@torch.inference_mode()
def test_images_keep_their_aspect_ratio_where_a_network_takes_it(network):
    path, features = network
    square = features.pretrained_cfg["input_size"][1:]
    embedding = load("timm", path, model=TIMM, image_shape=(40, 90, 3))
    # 2/3 and 3/2 of 160, to whole patches of 16: the same number of pixels but for that.
    assert tuple(square) == (160, 160)
    assert embedding.preprocessing.size == (112, 240)
    x = np.random.default_rng(0).integers(0, 256, (2, 40, 90, 3), dtype=np.uint8)
    features.set_input_size(img_size=embedding.preprocessing.size)
    assert np.allclose(embedding(x), unit(features(embedding.preprocess(x))), atol=1e-6)
    assert load("timm", path, model=TIMM).preprocessing.size == tuple(square)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["open_clip", "timm"])
def test_half_precision_agrees(kind, dtype, tiny, network):
    path, model = (tiny[0], TINY) if kind == "open_clip" else (network[0], TIMM)
    x = images(4, size=32, channels=3)
    half, full = load(kind, path, model, dtype=dtype)(x), load(kind, path, model)(x)
    assert half.dtype == np.float32
    assert np.allclose(np.linalg.norm(half, axis=1), 1, atol=3e-7)
    assert not np.array_equal(half, full)
    # A relative error e of the features takes e^2/2 off the cosine; two to three roundings of 2^-11 and 2^-8 a
    # block in quadrature are below 10 roundings, 0.5 % and 4 %.
    roundoff = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    assert (half * full).sum(axis=1).min() > 1 - (10 * roundoff) ** 2 / 2 - 1e-6


def pickled(path):
    torch.save({"visual.proj": torch.zeros(2)}, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def rename(path, old, new):
    from safetensors.torch import load_file

    state = {new + k.removeprefix(old): v for k, v in load_file(path).items() if k.startswith(old)}
    save_file(state, path)
    return path


def drop(path, name):
    from safetensors.torch import load_file

    save_file({k: v for k, v in load_file(path).items() if k != name}, path)
    return path


REFUSED = [
    ("open_clip", lambda path: path, None, "model is null, must name"),
    (
        "open_clip",
        lambda path: path,
        "ViT-B-33",
        r"'ViT-B-33' is not one of open_clip's; nearest: .*ViT-B-32",
    ),
    (
        "open_clip",
        lambda path: path,
        "ViT-B-32",
        r"\(64, 3, 8, 8\) tensor visual.conv1.weight, where .* \(768,",
    ),
    (
        "open_clip",
        lambda path: path.parent / "none.safetensors",
        TINY,
        "missing, must be a folder of open_clip",
    ),
    ("open_clip", pickled, TINY, "pickle"),
    ("open_clip", lambda path: rename(path, "visual.", "vision_model."), TINY, "layout of transformers"),
    ("open_clip", lambda path: rename(path, "visual.", "tower."), TINY, r"no tensor visual\.\*"),
    ("open_clip", lambda path: path.parent / "configurations", None, r"no open_clip_config\.json"),
    ("open_clip", lambda path: None, TINY, "checkpoint is null"),
    ("timm", lambda path: path, None, "model is null, must name"),
    ("timm", lambda path: path, "vit_smal_patch14_dinov2", "nearest: vit_small_patch14_dinov2"),
    ("timm", lambda path: path, "vit_small_patch14_dinov2.laion", "no training 'laion'.*lvd142m"),
    ("timm", lambda path: path, "hf-hub:timm/resnet18", "is not one of timm's"),
    ("timm", pickled, TIMM, "pickle"),
    ("timm", lambda path: rename(path, "", "embeddings."), TIMM, "layout of transformers"),
    ("timm", lambda path: path.parent, None, r"no config\.json"),
]


@pytest.mark.parametrize(("kind", "change", "model", "message"), REFUSED)
def test_other_files_are_refused_in_one_line(kind, change, model, message, tiny, network):
    path = change((tiny if kind == "open_clip" else network)[0])
    for refuse in (check, lambda kind, *source: load(kind, source[0], model=source[1])):
        with pytest.raises(ValueError, match=message) as raised:
            refuse(kind, path and str(path), model)
        assert "\n" not in str(raised.value)


def test_weights_of_another_network_are_refused_by_its_header(network):
    # Where timm is at hand: the check of settings does without it.
    for refuse in (
        partial(load, "timm"),
        lambda path, model: describe_embedding("timm", str(path), model).dimension((48, 48, 3)),
    ):
        with pytest.raises(ValueError, match=r"proj.weight, where vit_tiny_patch16_224 has \(192,"):
            refuse(network[0], model="vit_tiny_patch16_224")


def test_names_of_timm_are_known_without_it():
    known = architectures()
    assert set(known) == set(timm.list_models())
    for name in timm.list_pretrained():
        architecture, _, tag = name.partition(".")
        assert not tag or tag in known[architecture], name


@pytest.mark.parametrize(
    ("kind", "missing", "message"),
    [
        ("open_clip", "visual.ln_post.bias", "does not fit ViT-tiny-test.*ln_post.bias"),
        ("timm", "blocks.0.norm1.bias", "does not fit test_vit2.*blocks.0.norm1.bias"),
    ],
)
def test_a_missing_tensor_is_an_error_when_loading(kind, missing, message, tiny, network):
    path, model = (tiny[0], TINY) if kind == "open_clip" else (network[0], TIMM)
    with pytest.raises(ValueError, match=message) as raised:
        load(kind, drop(path, missing), model=model)
    assert "\n" not in str(raised.value)


def add(path, **tensors):
    from safetensors.torch import load_file

    save_file(load_file(path) | tensors, path)
    return path


@pytest.mark.parametrize("kind", ["open_clip", "timm"])
@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("scale_weight", torch.ones(()), "a scale of quantised weights., which nothing here reads"),
        ("weight.absmax", torch.zeros(4, dtype=torch.uint8), "weights of bitsandbytes"),
        ("SCB", torch.zeros(4), "weights of bitsandbytes"),
        ("lora_A.weight", torch.zeros(2, 4), "a LoRA"),
        ("weight", torch.zeros(4, dtype=torch.int8), "as I8, must be one of F64"),
    ],
)
def test_quantised_weights_and_adapters_are_refused_from_the_header(
    kind, name, tensor, message, tiny, network
):
    (path, model), layer = (
        ((tiny[0], TINY), "visual.x") if kind == "open_clip" else ((network[0], TIMM), "blocks.0.x")
    )
    with pytest.raises(ValueError, match=message):
        check(kind, str(add(path, **{f"{layer}.{name}": tensor})), model)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("open_clip", "visual.extra.weight", "does not fit ViT-tiny-test.*visual.extra|extra.weight"),
        ("open_clip", "gate.weight", "holds gate.weight, which no CLIP of open_clip has a place for"),
        ("timm", "blocks.0.extra.weight", "does not fit test_vit2.*blocks.0.extra.weight"),
    ],
)
def test_a_tensor_that_nothing_reads_is_an_error_when_loading(kind, name, message, tiny, network):
    path, model = (tiny[0], TINY) if kind == "open_clip" else (network[0], TIMM)
    with pytest.raises(ValueError, match=message):
        load(kind, add(path, **{name: torch.ones(3)}), model=model)


def test_what_a_translation_of_names_drops_is_named(network, monkeypatch):
    family = sys.modules[timm.models.model_entrypoint(TIMM).__module__]
    translate = family.checkpoint_filter_fn

    def forgetful(state, model):
        return {k: v for k, v in translate(state, model).items() if not k.endswith("forgotten")}

    monkeypatch.setattr(family, "checkpoint_filter_fn", forgetful)
    assert load("timm", network[0], model=TIMM).dimension > 1
    add(network[0], **{"blocks.0.mlp.forgotten": torch.ones(3), "mask_token": torch.ones(1, 3)})
    with pytest.raises(
        ValueError, match=r"holds blocks\.0\.mlp\.forgotten, which test_vit2 has no place for"
    ):
        load("timm", network[0], model=TIMM)


@pytest.mark.parametrize("kind", ["open_clip", "timm"])
def test_unknown_dtype_is_refused(kind, tiny, network):
    with pytest.raises(ValueError, match="dtype is 'int8', must be one of float32, float16, bfloat16"):
        load(kind, tiny[0], model=TINY, dtype="int8")


def test_attentional_pooling_is_refused_in_half_precision(tiny, tmp_path):
    config = TINY_CONFIG | {"vision_cfg": TINY_CONFIG["vision_cfg"] | {"attentional_pool": True}}
    (tmp_path / "configurations" / f"{TINY}.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="dtype is 'float16', must be float32"):
        load("open_clip", tiny[0], model=TINY, dtype="float16")


def test_pixels_have_the_signature_of_all():
    embedding = load("pixels", "", dtype="float32", device="cpu", image_shape=(8, 8, 1))
    assert np.array_equal(embedding(images()), PixelEmbedding((8, 8, 1))(images()))
    assert describe_embedding("pixels", None, None).dimension((8, 8, 3)) == 192
    assert describe_embedding("pixels", None).files() == []
    check("pixels", None, None)
    with pytest.raises(ValueError, match="must be null"):
        check("pixels", None, "ViT-B-32")
    with pytest.raises(ValueError, match="image_shape is None"):
        load("pixels", None)


def test_files_of_a_checkpoint(checkpoint, tmp_path):
    names = ["open_clip_config.json", "open_clip_model.safetensors"]
    assert describe_embedding("open_clip", str(checkpoint)).files() == [
        f"{checkpoint}/{name}" for name in names
    ]
    assert describe_embedding("timm", "/models/dino.safetensors").files() == ["/models/dino.safetensors"]


def test_checks_need_no_torch(checkpoint, network):
    code = (
        "from hessgeo.features import describe_embedding; "
        "describe_embedding('timm', sys.argv[2], sys.argv[3]).check(); "
        "source = ('open_clip', sys.argv[1]); describe_embedding(*source).check(); "
        "assert describe_embedding(*source).dimension((8, 8, 1)) == 12"
    )
    assert heavy_after(code, checkpoint, network[0], TIMM) == []


# --- images made smaller first ---


def test_images_are_shrunk_as_pillow_does_it():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 32, 3), dtype=np.uint8)
    embedding = load_embedding(
        {"kind": "pixels", "model": None, "dtype": "float32", "size": 8}, None, (48, 32, 3), device="cpu"
    )
    expected = np.stack(
        [np.asarray(Image.fromarray(image).resize((8, 12), Image.Resampling.BILINEAR)) for image in images]
    )
    found = embedding.shrink(images)
    assert found.shape == (3, 12, 8, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1, "both round to eight bits, in fixed point"
    assert embedding.dimension == 12 * 8 * 3
    assert np.array_equal(embedding(images), PixelEmbedding((12, 8, 3))(found))


def test_images_that_are_small_already_are_left_alone():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    settings = {"kind": "pixels", "model": None, "dtype": "float32"}
    plain, same = (
        load_embedding({**settings, "size": size}, None, (8, 8, 1), device="cpu") for size in (None, 8)
    )
    assert np.array_equal(plain(images), same(images))
    assert shrunk((512, 768), 128) == (128, 192)
