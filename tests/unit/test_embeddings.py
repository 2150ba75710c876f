"""Embeddings: unit vectors, the preprocessing of open_clip folders, the Dask map."""

import json

import dask.array as da
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from hessgeo.embeddings import Embedding, embed, embedding_loader
from hessgeo.embeddings.open_clip import load_open_clip, open_clip_dimension
from hessgeo.embeddings.pixels import PixelEmbedding
from hessgeo.models.digit_clip import build_clip, save_clip


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return build_clip(width=16, layers=1, dimension=12).eval()


@pytest.fixture
def checkpoint(clip, tmp_path):
    save_clip(tmp_path / "clip", clip)
    return tmp_path / "clip"


def images(n=11, size=8, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def smooth_image(size=64):
    """A picture without detail finer than a few pixels, as the resampling of two libraries agrees on."""
    y, x = np.mgrid[:size, :size] / size
    channels = [np.sin(5 * x + 3 * y), np.cos(4 * x * y), np.sin(6 * y)]
    return np.round(127.5 + 100 * np.stack(channels, axis=-1)).astype(np.uint8)


def test_folder_embeds_as_the_original_model(clip, checkpoint):
    embedding = load_open_clip(checkpoint)
    x = torch.from_numpy(images()).permute(0, 3, 1, 2).expand(-1, 3, -1, -1) / 127.5 - 1
    with torch.inference_mode():
        expected = clip.encode_image(x, normalize=True).numpy()
    # One float32 rounding of the standardisation, carried through the tower.
    assert np.allclose(embedding(images()), expected, atol=1e-6)
    assert embedding.dimension == open_clip_dimension(checkpoint) == 12


def test_grey_images_embed_as_their_rgb_copies(checkpoint):
    embedding = load_open_clip(checkpoint)
    assert np.array_equal(embedding(images()), embedding(np.repeat(images(), 3, axis=3)))


def test_preprocessing_is_open_clips_own(checkpoint):
    embedding = load_open_clip(checkpoint)
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
    x = load_open_clip(checkpoint).preprocess(np.full((1, 8, 8, 1), 255, dtype=np.uint8))
    assert torch.allclose(x[0, :, 0, 0], torch.tensor([1.8, 3.2, 0.7]), atol=1e-6)


@pytest.mark.parametrize("kind", ["clip", "pixels"])
def test_rows_are_unit_vectors(kind, checkpoint):
    embedding = load_open_clip(checkpoint) if kind == "clip" else PixelEmbedding((8, 8, 1))
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
    embedding = load_open_clip(checkpoint) if kind == "clip" else PixelEmbedding((8, 8, 1))
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
        (edit_model(text_cfg={"hf_model_name": "roberta-base"}), "hf_model_name"),
    ],
)
def test_other_folders_are_refused_in_one_line(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(ValueError, match=message) as raised:
        load_open_clip(checkpoint)
    assert "\n" not in str(raised.value)


def test_other_channel_counts_are_refused(checkpoint):
    with pytest.raises(ValueError, match="2 channels"):
        load_open_clip(checkpoint)(images(channels=2))


def test_registry():
    assert embedding_loader("pixels") is PixelEmbedding
    assert embedding_loader("open_clip") is load_open_clip
    with pytest.raises(ValueError, match="not one of open_clip, pixels"):
        embedding_loader("lpips")
