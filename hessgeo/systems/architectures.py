"""Architectures of the Stable Diffusion checkpoints that come as one file without their configuration."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"


def clip_vocabulary(merges: int | None = None) -> tuple[dict[str, int], list[str]]:
    """Tokens with their numbers, and merges, of CLIP's byte-pair encoding as ``open_clip`` ships it.

    Args:
        merges: how many of the 48894 merges to keep, from the most frequent on; all if None.

    Raises:
        ValueError: if ``open_clip`` is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ValueError("open_clip is not installed, which holds the vocabulary of CLIP's tokenizer")
    with gzip.open(Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        # The first line is a title; CLIP uses as many merges as make 49152 tokens with 512 bytes and 256 spare.
        rules = file.read().splitlines()[1 : 49152 - 256 - 2 + 1][:merges]
    symbols = _byte_symbols()
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(rule.replace(" ", "") for rule in rules)]
    return {token: number for number, token in enumerate([*tokens, START, END])}, rules


def write_clip_tokenizer(folder: Path, *, padding: str = END, merges: int | None = None) -> None:
    """Write CLIP's tokenizer to a folder, as ``transformers`` reads it.

    Args:
        folder: where; made if it does not exist.
        padding: the token that fills a prompt up to 77 tokens.
        merges: see ``clip_vocabulary``.
    """
    vocabulary, rules = clip_vocabulary(merges)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *rules, ""]), encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    _write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", settings | special)


def _byte_symbols() -> list[str]:
    # A printable character for each byte: itself where it is printable in Latin-1, else one from U+0100 on.
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + k) for k in range(others)]


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
