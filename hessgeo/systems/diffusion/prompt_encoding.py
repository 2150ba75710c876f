"""What a text-to-image pipeline is told: the embeddings of a prompt and a negative prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hessgeo.systems.diffusion.prompts import T5_WINDOW, Fragment, parse_prompt, plain_text

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


TO = "to_"  # what names of arguments of another prompt start with


@dataclass(frozen=True)
class Window:
    """Tokens that a text encoder reads at once, without its markers, and the weight of each."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


class ClipText:
    """A text encoder of CLIP, which reads a prompt of any length in windows.

    A window of 75 tokens stands between the two markers that CLIP was trained with; the windows' vectors follow each
    other, for a network attends to any number of them. The vector ``z`` of a token with weight ``w`` becomes
    ``z_0 + w (z - z_0)``, with ``z_0`` the vector at its place in an empty window (as in ComfyUI, and in compel for
    weights above one).

    Args:
        tokenizer: of a pipeline.
        encoder: the same.
        normalised: whether the encoder's last normalisation follows its hidden states.
    """

    def __init__(self, tokenizer: Any, encoder: Any, *, normalised: bool) -> None:
        self.tokenizer, self.encoder, self.normalised = tokenizer, encoder, normalised
        self.length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)

    def windows(self, parts: Sequence[Sequence[Fragment]]) -> list[Window]:
        """The windows of a prompt, at least one; each part of it starts another."""
        size, found = self.length - 2, []
        for part in parts:
            window = Window()
            for fragment in part:
                tokens = self.tokenizer(fragment.text, add_special_tokens=False, verbose=False).input_ids
                window = Window(window.tokens + tokens, window.weights + [fragment.weight] * len(tokens))
            starts = range(0, max(1, len(window.tokens)), size)
            found += [Window(window.tokens[k : k + size], window.weights[k : k + size]) for k in starts]
        return found

    def encode(
        self, windows: Sequence[Window], layer: int
    ) -> tuple[Float[Tensor, "1 length width"], Float[Tensor, "1 pooled"] | None]:
        """Vectors of all tokens, and the projection of the first window as a whole, unweighted, if there is one.

        Args:
            windows: of a prompt.
            layer: of the encoder's hidden states, from the end; -1 is the last.
        """
        vectors, pooled = self._encode([window.tokens for window in windows], layer)
        weights = torch.tensor([self._padded(window.weights, 1.0, 1.0, 1.0) for window in windows])
        if (weights != 1).any():
            weights = weights[..., None].to(vectors)
            empty, _ = self._encode([[]], layer)
            vectors = torch.where(weights == 1, vectors, empty + weights * (vectors - empty))
        return vectors.flatten(0, 1)[None], None if pooled is None else pooled[:1]

    def _padded(self, values: Sequence[Any], start: Any, end: Any, padding: Any) -> list[Any]:
        return [start, *values, end, *[padding] * (self.length - 2 - len(values))]

    def _encode(self, tokens: Sequence[Sequence[int]], layer: int) -> tuple[Tensor, Tensor | None]:
        marks, device = self.tokenizer, self.encoder.device
        ids = [
            self._padded(row, marks.bos_token_id, marks.eos_token_id, marks.pad_token_id) for row in tokens
        ]
        options: dict[str, Any] = {"output_hidden_states": True}
        if getattr(self.encoder.config, "use_attention_mask", False):
            mask = [self._padded([1] * len(row), 1, 1, 0) for row in tokens]
            options["attention_mask"] = torch.tensor(mask, device=device)
        output = self.encoder(torch.tensor(ids, device=device), **options)
        vectors = output.hidden_states[layer]
        if self.normalised:
            # transformers 5 has the parts of a CLIPTextModel where earlier ones had a text_model.
            vectors = getattr(self.encoder, "text_model", self.encoder).final_layer_norm(vectors)
        return vectors, getattr(output, "text_embeds", None)


@torch.inference_mode()
def encode_prompts(
    pipeline: DiffusionPipeline,
    prompt: str,
    negative_prompt: str,
    *,
    guided: bool,
    clip_skip: int = 0,
    to: str | None = None,
) -> dict[str, Tensor]:
    """The arguments of a pipeline's call that carry its prompts, each with a leading axis of one.

    What fits into one window without weights is encoded as the pipeline itself does: an empty negative prompt of Stable
    Diffusion XL has a vector of zeros where its configuration says so, and layers of the negative prompt are not
    skipped. The CLIP of Flux, of which nothing but the vector of the whole text is used, reads the first window.

    Args:
        pipeline: with its tokenizers and text encoders.
        prompt: what to draw, see ``parse_prompt``.
        negative_prompt: what classifier-free guidance leads away from.
        guided: whether there is classifier-free guidance.
        clip_skip: last layers of the CLIPs that the prompt skips.
        to: another prompt, encoded in as many windows, whose arguments have names that start with ``to_``.

    Raises:
        ValueError: on syntax that ``parse_prompt`` refuses, weights for a T5, or a text that its window cannot hold.
    """
    kind = type(pipeline).__name__
    given = {"": prompt, "negative_": negative_prompt if guided else None, TO: to}
    prompts = {sign: text for sign, text in given.items() if text is not None}
    # Layers of the negative prompt are not skipped.
    skips = [0 if sign == "negative_" else clip_skip for sign in prompts]
    if kind == "FluxPipeline":
        encoded = []
        for text in prompts.values():
            checked = _t5_text(pipeline.tokenizer_2, text, T5_WINDOW["flux"])
            encoded.append(pipeline.encode_prompt(prompt=checked, prompt_2=None, device=pipeline.device)[:2])
    elif kind == "StableDiffusion3Pipeline":
        window = T5_WINDOW["stable-diffusion-3"]
        texts = [_t5_text(pipeline.tokenizer_3, text, window) for text in prompts.values()]
        encoded = _encode_clip(pipeline, [[[Fragment(text)]] for text in texts], skips)
        encoded = [
            (_with_t5(pipeline, vectors, text), pooled)
            for (vectors, pooled), text in zip(encoded, texts, strict=True)
        ]
    else:
        encoded = _encode_clip(pipeline, [parse_prompt(text) for text in prompts.values()], skips)
    zeros = kind == "StableDiffusionXLPipeline" and pipeline.config.force_zeros_for_empty_prompt
    if zeros and guided and not negative_prompt:
        encoded[1] = tuple(torch.zeros_like(tensor) for tensor in encoded[0])
    names = ("prompt_embeds", "pooled_prompt_embeds")
    return {
        f"{sign}{name}": tensor
        for sign, tensors in zip(prompts, encoded, strict=True)
        for name, tensor in zip(names, tensors, strict=True)
        if tensor is not None
    }


def _encode_clip(
    pipeline: Any, prompts: Sequence[Sequence[Sequence[Fragment]]], skips: Sequence[int]
) -> list[tuple]:
    """Vectors of each prompt, all of one length, and projections of it as a whole; each skips its number of layers."""
    # Stable Diffusion 1 and 2 take the last layer and normalise it, the others the last but one as it is.
    single = type(pipeline).__name__ == "StableDiffusionPipeline"
    last = -1 if single else -2
    clips = [
        ClipText(
            getattr(pipeline, f"tokenizer{end}"), getattr(pipeline, f"text_encoder{end}"), normalised=single
        )
        for end in (("",) if single else ("", "_2"))
    ]
    windows = [[clip.windows(parts) for clip in clips] for parts in prompts]
    most = max(len(found) for each in windows for found in each)
    encoded = []
    for each, skip in zip(windows, skips, strict=True):
        outputs = [
            clip.encode([*found, *[Window()] * (most - len(found))], last - skip)
            for clip, found in zip(clips, each, strict=True)
        ]
        pooled = [tensor for _, tensor in outputs if tensor is not None]
        vectors = torch.cat([tensor for tensor, _ in outputs], dim=-1)
        encoded.append((vectors, torch.cat(pooled, dim=-1) if pooled else None))
    return encoded


def _t5_text(tokenizer: Any, prompt: str, window: int) -> str:
    """The text of a prompt, which must fit into the window of a T5."""
    text = plain_text(prompt)
    count = 0 if tokenizer is None else len(tokenizer(text, verbose=False).input_ids)
    if count > window:
        raise ValueError(f"at most {window} tokens, this has {count}")
    return text


def _with_t5(pipeline: Any, vectors: Tensor, text: str) -> Tensor:
    """The vectors of the CLIPs of Stable Diffusion 3, filled up to the width of its T5, then the T5's."""
    long = pipeline._get_t5_prompt_embeds(prompt=text, device=pipeline.device)
    return torch.cat([functional.pad(vectors, (0, long.shape[-1] - vectors.shape[-1])), long], dim=-2)
