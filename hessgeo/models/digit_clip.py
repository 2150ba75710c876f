"""A small CLIP of the digits and their captions, in the classes and the folder format of ``open_clip``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg, SimpleTokenizer
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from hessgeo.models.digits import DIGIT_WORDS, Digits, DigitSet, as_ink, jitter
from hessgeo.numerics.training import descend, drawn, seeded
from hessgeo.store import whole_files

TEMPLATES = ("a photo of the digit {}", "a handwritten {}", "the number {}")
HEAD_WIDTH = 16
CONTEXT = 16
# Caps the contrastive temperature at 1/20 (open_clip's own cap is 1/100): a sharper softmax has no use for
# the distance between two sevens, and the embedding would collapse each digit to a point.
LARGEST_SCALE = 20.0


def clip_config(*, width: int, layers: int, dimension: int) -> dict:
    """The ``model_cfg`` of a CLIP for 8 x 8 images, in patches of 2 x 2 pixels and three equal channels.

    Args:
        width: token width of both towers.
        layers: transformer blocks of the image tower; the text tower has two.
        dimension: dimension of the joint embedding.

    Raises:
        ValueError: if the width is not a multiple of the head width.
    """
    if width < HEAD_WIDTH or width % HEAD_WIDTH:
        raise ValueError(f"width is {width}, must be a multiple of {HEAD_WIDTH}")
    vision = {"image_size": 8, "patch_size": 2, "width": width, "layers": layers, "head_width": HEAD_WIDTH}
    text = {"context_length": CONTEXT, "width": width, "heads": width // HEAD_WIDTH, "layers": 2}
    return {"embed_dim": dimension, "vision_cfg": vision, "text_cfg": text}


def build_clip(*, width: int, layers: int, dimension: int) -> CLIP:
    """A CLIP with random weights from torch's global stream, and its preprocessing."""
    config = clip_config(width=width, layers=layers, dimension=dimension)
    clip = CLIP(dimension, CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"]))
    # The 49,408 x width vocabulary stays at its random start: a random code tells our few dozen words apart,
    # and the optimiser need not walk through millions of rows that no prompt uses.
    clip.token_embedding.requires_grad_(False)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    set_model_preprocess_cfg(clip, {**preprocess, "size": 8, "mode": "RGB", "fill_color": 0})
    return clip


def tokenise(texts: Sequence[str]) -> Int[Tensor, "n context"]:
    """Tokens of each text, by open_clip's byte-pair encoding."""
    return _tokeniser()(list(texts))


def positives(
    texts: Sequence[str], captions: Sequence[str], labels: Int[np.ndarray, "n"]
) -> Bool[np.ndarray, "n text"]:
    """Which texts describe which images: an image's own caption, and each prompt of its digit."""
    prompts = [{template.format(word) for template in TEMPLATES} for word in DIGIT_WORDS]
    own = [{caption, *prompts[label]} for caption, label in zip(captions, labels, strict=True)]
    return np.array([[text in described for text in texts] for described in own])


def contrastive_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "m d"],
    match: Bool[Tensor, "n m"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross-entropy where an image has several texts and a text several images.

    With ``s_ij = scale <image_i, text_j>``, the mean of the cross-entropies of ``softmax_j s_ij`` and
    ``softmax_i s_ij`` from the uniform distribution over the matches. With one match each it is
    ``open_clip``'s ClipLoss.

    Args:
        image: unit embeddings of images.
        text: unit embeddings of distinct texts.
        match: whether text j describes image i; every row and column has a match.
        scale: inverse temperature.
    """
    logits = scale * image @ text.T
    target = match.to(logits)
    by_image = functional.cross_entropy(logits, target / target.sum(dim=1, keepdim=True))
    by_text = functional.cross_entropy(logits.T, (target / target.sum(dim=0, keepdim=True)).T)
    return (by_image + by_text) / 2


def train_clip(
    digits: Digits,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    width: int,
    layers: int,
    dimension: int,
    seed: int,
    device: str = "cpu",
    progress: bool = False,
) -> CLIP:
    """Train a CLIP on the training digits, their captions and prompts of the bare digit.

    Each step contrasts a jittered batch with every distinct text of it: the captions, and one prompt template
    for the digits. AdamW, one-cycle learning rate. On one machine and at one number of threads the weights
    are a function of the arguments alone.

    Args:
        digits: images, labels and captions; only the training set is used.
        steps: optimiser steps, at least one.
        batch_size: images a step, drawn with replacement.
        learning_rate: peak learning rate.
        width: token width of both towers, a multiple of 16.
        layers: transformer blocks of the image tower.
        dimension: dimension of the joint embedding.
        seed: seed of the initial weights, the batches and the jitter.
        device: where to train.
        progress: show a progress bar.

    Raises:
        ValueError: on less than one step, or a width that ``clip_config`` refuses.
        FloatingPointError: if the loss is no longer finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, must be at least 1")
    with seeded(seed):
        clip = build_clip(width=width, layers=layers, dimension=dimension).to(device)
    generator = torch.Generator().manual_seed(seed)
    images = as_ink(digits.train.images).to(device)
    prompts = [template.format(word) for template in TEMPLATES for word in DIGIT_WORDS]
    texts = sorted(set(digits.train.captions)) + prompts
    tokens = tokenise(texts).to(device)
    match = torch.from_numpy(positives(texts, digits.train.captions, digits.train.labels)).to(device)
    weights = [weight for weight in clip.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=1e-2)
    schedule = OneCycleLR(optimiser, learning_rate, total_steps=steps)

    def loss(rows: Int[Tensor, "n"]) -> Float[Tensor, ""]:
        rows = rows.to(device)
        columns = _drawn_texts(match[rows], len(prompts), generator)
        batch = jitter(images[rows], generator, shift=0.3, noise=0.05)
        image, text, scale = clip(_three_channels(batch), tokens[columns])
        return contrastive_loss(image, text, match[rows][:, columns], scale)

    @torch.no_grad()
    def cap() -> None:
        clip.logit_scale.clamp_(max=float(np.log(LARGEST_SCALE)))

    descend(
        loss, drawn(len(images), batch_size, generator), optimiser, schedule,
        steps=steps, label="clip", progress=progress, after=cap,
    )  # fmt: skip
    return clip.eval()


def save_clip(folder: str | Path, model: CLIP) -> None:
    """Write ``open_clip_config.json`` and ``open_clip_model.safetensors``.

    ``open_clip.create_model("local-dir:<folder>")`` loads the result.
    """
    tower = model.visual.transformer
    config = clip_config(width=tower.width, layers=tower.layers, dimension=model.visual.output_dim)
    with whole_files(folder) as partial:
        save_config_for_hf(model, partial / "open_clip_config.json", config)
        save_file(model.state_dict(), partial / "open_clip_model.safetensors")


@torch.inference_mode()
def zero_shot_accuracy(clip: CLIP, digit_set: DigitSet) -> float:
    """Share of images nearest to the prompts of their own digit.

    The embedding of a digit is the mean over ``TEMPLATES`` of the unit embeddings of its prompts, as CLIP's
    authors do; no image has been seen with a prompt alone as its label.
    """
    device = clip.logit_scale.device
    prompts = [template.format(word) for word in DIGIT_WORDS for template in TEMPLATES]
    text = clip.encode_text(tokenise(prompts).to(device), normalize=True)
    digits = text.unflatten(0, (len(DIGIT_WORDS), len(TEMPLATES))).mean(dim=1)
    image = clip.encode_image(_three_channels(as_ink(digit_set.images).to(device)), normalize=True)
    nearest = (image @ functional.normalize(digits, dim=1).T).argmax(dim=1)
    return float(np.mean(nearest.cpu().numpy() == digit_set.labels))


def _drawn_texts(
    match: Bool[Tensor, "n text"], prompts: int, generator: torch.Generator
) -> Int[Tensor, "column"]:
    """Columns of the texts of a batch: its captions, and for each digit in it a prompt of one template."""
    described = match.any(dim=0)
    template = int(torch.randint(len(TEMPLATES), (1,), generator=generator))
    first = len(described) - prompts + template * len(DIGIT_WORDS)
    kept = torch.zeros_like(described)
    kept[: len(described) - prompts] = True
    kept[first : first + len(DIGIT_WORDS)] = True
    return torch.nonzero(described & kept).flatten()


def _three_channels(grey: Float[Tensor, "n 1 8 8"]) -> Float[Tensor, "n 3 8 8"]:
    """What the preprocessing of the saved folder does: grey to RGB, mean and standard deviation 0.5."""
    return ((grey - 0.5) / 0.5).expand(-1, 3, -1, -1)


@cache
def _tokeniser() -> SimpleTokenizer:
    return SimpleTokenizer(context_length=CONTEXT)
