"""Training, saving and loading of the embedded models."""

import math

import numpy as np
import open_clip
import pytest
import torch
from diffusers import DDIMPipeline, UNet2DModel

from hessgeo import store
from hessgeo.models.digit_classifier import (
    DigitClassifier,
    accuracy,
    load_classifier,
    perceptual_features,
    recognise,
    save_classifier,
    train_classifier,
)
from hessgeo.models.digit_clip import (
    CONTEXT,
    TEMPLATES,
    build_clip,
    contrastive_loss,
    positives,
    save_clip,
    tokenise,
    train_clip,
    zero_shot_accuracy,
)
from hessgeo.models.digit_diffusion import (
    build_scheduler,
    build_unet,
    train_diffusion,
    velocity_loss,
    warmed_cosine,
)
from hessgeo.models.digits import DIGIT_WORDS, load_digits

DIFFUSION = {"batch_size": 16, "learning_rate": 1e-3, "channels": [8, 16], "ema": 0.5}
CLIP = {"batch_size": 32, "learning_rate": 1e-3, "width": 16, "layers": 1, "dimension": 8}
CLASSIFIER = {"batch_size": 64, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def digits():
    return load_digits(held_out=0.2, seed=0)


def trained(kind, digits, seed, steps=3):
    if kind == "diffusion":
        return train_diffusion(digits, steps=steps, seed=seed, **DIFFUSION).unet
    if kind == "clip":
        return train_clip(digits, steps=steps, seed=seed, **CLIP)
    return train_classifier(digits, steps=steps, seed=seed, **CLASSIFIER)


@pytest.mark.parametrize("kind", ["diffusion", "clip", "classifier"])
def test_weights_are_a_function_of_the_seed(kind, digits):
    torch.manual_seed(123)
    first, stream = trained(kind, digits, 5).state_dict(), torch.rand(1)
    torch.manual_seed(123)
    assert torch.equal(stream, torch.rand(1)), "training must leave torch's global stream alone"
    second, other = trained(kind, digits, 5).state_dict(), trained(kind, digits, 6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", ["diffusion", "clip", "classifier"])
def test_training_moves_the_weights_and_ends_in_evaluation_mode(kind, digits):
    before, after = trained(kind, digits, 5, steps=1), trained(kind, digits, 5, steps=3)
    assert not after.training
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["diffusion", "clip", "classifier"])
def test_no_steps_are_refused(kind, digits):
    with pytest.raises(ValueError, match="steps is 0"):
        trained(kind, digits, 5, steps=0)


@pytest.mark.parametrize("kind", ["diffusion", "clip", "classifier"])
def test_training_that_diverges_is_an_error(kind, digits, monkeypatch):
    name = {"diffusion": "DIFFUSION", "clip": "CLIP", "classifier": "CLASSIFIER"}[kind]
    monkeypatch.setitem(globals()[name], "learning_rate", 1e30)
    with pytest.raises(FloatingPointError, match="the loss is nan at step"):
        trained(kind, digits, 5)


def test_pipeline_folder_round_trip(digits, tmp_path):
    pipeline = train_diffusion(digits, steps=2, seed=0, **DIFFUSION)
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    assert not list(tmp_path.rglob("*.bin"))
    loaded = DDIMPipeline.from_pretrained(tmp_path, local_files_only=True)
    x, time = (
        torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0)),
        torch.tensor([1, 500, 999]),
    )
    with torch.inference_mode():
        assert torch.equal(loaded.unet(x, time).sample, pipeline.unet(x, time).sample)
    assert loaded.scheduler.config["prediction_type"] == "v_prediction"
    assert loaded.scheduler.config["timestep_spacing"] == "trailing"


def test_velocity_loss_of_the_best_constant_predictor():
    """A network that answers 0 has the loss E|v|^2, which is 1 for images of unit variance."""

    class Zero(UNet2DModel):
        def forward(self, x, times):
            return type("Output", (), {"sample": torch.zeros_like(x)})

    x = torch.randn((4000, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    loss = velocity_loss(Zero.from_config(build_unet([8]).config), build_scheduler(), x, torch.Generator())
    # |v|^2 = abar |noise|^2 + (1 - abar) |x|^2 + cross terms: 256,000 values of variance 2.
    assert loss.item() == pytest.approx(1, abs=4 * math.sqrt(2 / 256_000))


def test_learning_rate_warms_up_and_falls_to_zero():
    factors = np.array([warmed_cosine(step, 1000) for step in range(1001)])
    assert factors.argmax() in range(45, 55)
    assert factors[-1] == pytest.approx(0)
    assert np.all(np.diff(factors[60:]) < 0)


@pytest.mark.parametrize("channels", [[], [12], [8, 8, 8, 8]])
def test_bad_channels_are_refused(channels):
    with pytest.raises(ValueError, match="channels"):
        build_unet(channels)


def test_clip_folder_is_read_by_open_clip(digits, tmp_path):
    clip = train_clip(digits, steps=2, seed=0, **CLIP)
    save_clip(tmp_path, clip)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    loaded = open_clip.create_model(f"local-dir:{tmp_path}", weights_only=True).eval()
    tokens = tokenise(["a bold, right-leaning, wide seven", "a photo of the digit two"])
    assert torch.equal(
        open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["a handwritten nine"]),
        tokenise(["a handwritten nine"]),
    )
    x = torch.randn((4, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.encode_image(x), clip.encode_image(x))
        assert torch.equal(loaded.encode_text(tokens), clip.encode_text(tokens))
    assert loaded.visual.preprocess_cfg["mean"] == clip.visual.preprocess_cfg["mean"]
    assert zero_shot_accuracy(loaded, digits.test) == zero_shot_accuracy(clip, digits.test)


def test_every_caption_fits_the_context(digits):
    tokens = tokenise(digits.train.captions + [template.format("seven") for template in TEMPLATES])
    end = tokens.max()
    assert torch.all((tokens == end).any(dim=1))
    # The end token was not forced over a word that did not fit.
    assert torch.all(tokens[:, CONTEXT - 1] == 0)


def test_contrastive_loss_is_clip_loss_where_each_image_has_one_text():
    generator = torch.Generator().manual_seed(0)
    image, text = (
        torch.nn.functional.normalize(torch.randn((7, 5), generator=generator), dim=1) for _ in range(2)
    )
    scale = torch.tensor(11.0)
    expected = open_clip.ClipLoss()(image, text, scale)
    assert contrastive_loss(image, text, torch.eye(7, dtype=torch.bool), scale).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_contrastive_loss_reaches_its_bound_with_several_texts_an_image():
    """Cross-entropy is at least the entropy of its target, reached when the matches share all the mass."""
    corners = torch.eye(2)
    image, text = corners[[0, 0, 1]], corners[[0, 0, 0, 1, 1]]
    match = (image @ text.T) > 0
    loss = contrastive_loss(image, text, match, torch.tensor(100.0))
    by_image = (2 * math.log(3) + math.log(2)) / 3
    by_text = (3 * math.log(2) + 2 * math.log(1)) / 5
    assert loss.item() == pytest.approx((by_image + by_text) / 2, rel=1e-6)


def test_positives_are_the_own_caption_and_the_prompts_of_the_digit():
    captions = ["a thin, upright, wide two", "a bold, upright, wide two", "a thin, upright, wide six"]
    texts = [*captions, "a handwritten two", "the number six"]
    match = positives(texts, captions, np.array([2, 2, 6]))
    expected = [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]]
    assert np.array_equal(match, np.array(expected, dtype=bool))


def test_zero_shot_accuracy_of_a_perfect_and_a_shifted_clip(digits):
    """Towers that look the digit up score 1; the same towers with the text off by one digit score 0."""

    class Lookup(open_clip.CLIP):
        def __init__(self, shift):
            torch.nn.Module.__init__(self)
            self.logit_scale = torch.zeros(())
            self.codes = torch.eye(10)
            self.words = {word: (k + shift) % 10 for k, word in enumerate(DIGIT_WORDS)}

        def encode_text(self, tokens, normalize):
            decode = open_clip.SimpleTokenizer().decode
            spoken = [decode(row[row > 0].tolist()).split() for row in tokens]
            return self.codes[[next(self.words[w] for w in text if w in self.words) for text in spoken]]

        def encode_image(self, x, normalize):
            return self.codes[torch.from_numpy(digits.test.labels)]

    assert zero_shot_accuracy(Lookup(0), digits.test) == 1
    assert zero_shot_accuracy(Lookup(1), digits.test) == 0


def test_clip_width_must_hold_whole_heads():
    with pytest.raises(ValueError, match="multiple of 16"):
        build_clip(width=24, layers=1, dimension=8)


def test_classifier_learns_and_is_honest(digits):
    model = train_classifier(digits, steps=150, seed=0, **CLASSIFIER)
    label, confidence = recognise(model, digits.test.images)
    held_out = accuracy(model, digits.test)
    assert held_out == np.mean(label == digits.test.labels)
    # 150 steps in place of several hundred; a linear classifier reaches 0.95 on this split.
    assert held_out > 0.95
    assert confidence.min() >= 0.1
    # Calibrated to a few per cent: four standard errors of an accuracy near 0.97 over 360 images are 0.036.
    assert abs(confidence.mean() - held_out) < 0.05
    noise = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    assert recognise(model, noise)[1].mean() < confidence.mean() - 0.1


def test_classifier_folder_round_trip(digits, tmp_path):
    model = train_classifier(digits, steps=2, seed=0, **CLASSIFIER)
    save_classifier(tmp_path, model)
    loaded = load_classifier(tmp_path)
    for a, b in zip(recognise(model, digits.test.images), recognise(loaded, digits.test.images), strict=True):
        assert np.array_equal(a, b)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_classifier(tmp_path)
    store.write_network(tmp_path, {}, model.config)
    with pytest.raises(ValueError, match="does not hold a digit classifier"):
        load_classifier(tmp_path)


def test_perceptual_features_are_those_of_lpips():
    torch.manual_seed(0)
    model = DigitClassifier().eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    features = perceptual_features(model, images)
    with torch.inference_mode():
        first = model.layers[1](model.layers[0](torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255))
        layers = [first, model.layers[3](model.layers[2](first))]
    unit = [layer / layer.norm(dim=1, keepdim=True) for layer in layers]
    expected = sum(((layer[0] - layer[1]) ** 2).sum(dim=0).mean() for layer in unit)
    assert ((features[0] - features[1]) ** 2).sum() == pytest.approx(float(expected), rel=1e-5)
    # Two layers of unit vectors at every pixel.
    np.testing.assert_allclose((features**2).sum(axis=1), 2, rtol=1e-5)
