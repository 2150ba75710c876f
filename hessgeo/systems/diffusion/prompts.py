r"""What a prompt says: text, its weights, and where it goes on in a window of its own.

``(word)`` weighs a word 1.1, ``[word]`` 1 / 1.1, ``(word:1.4)`` 1.4; nested weights multiply, and ``BREAK`` starts a
window. Of what other programs read as instructions (``<lora:name:0.8>``, ``{a|b}``, ``AND``, ..) everything that can be
recognised is refused by name, for a text encoder would take it as text. A backslash makes the character or the word
that follows it text: ``\(``, ``\AND``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hessgeo.weights.files import LARGEST_JSON, read_bytes

# Tokens that the T5 of a family reads at most, those of its pipeline in diffusers.
T5_WINDOW = {"stable-diffusion-3": 256, "flux": 512}
STRONGER = 1.1
LARGEST = 10.0
ESCAPE = re.compile(r"\\(\w+|\W)", re.DOTALL)
SYNTAX = re.compile(
    r"""(?P<escape>\\(?:\w+|\W)) | (?P<break>\bBREAK\b) | (?P<open>[(\[])
    | (?P<weight>:\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*\)) | (?P<close>[)\]]) | (?P<mark>[:|]) | (?P<text>\w+|.)""",
    re.VERBOSE | re.DOTALL,
)
NUMBER = re.compile(r"\s*[-+]?\.?\d")
# Names under which embeddings are shared, which stand in prompts as plain words.
EMBEDDINGS = (
    "easynegative", "negativexl", "unaestheticxl", "badhandv4", "bad-hands-5", "bad_prompt", "bad_prompt_version2",
    "bad-artist", "bad-artist-anime", "bad-image-v2-39000", "baddream", "unrealisticdream", "fastnegativev2",
    "verybadimagenegative_v1.3", "ng_deepnegative_v1_75t", "negative_hand",
)  # fmt: skip
# What other programs read in a prompt, with what to write instead.
FOREIGN: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (name, re.compile(pattern), instead)
    for name, pattern, instead in (
        ("a LoRA", r"<\s*(?:lora|lyco|lokr|hypernet)\s*:[^<>]*>?", "its file goes into system.lora"),
        ("an embedding", r"<[^<>\s]+>|\b(?i:embedding|emb):[\w<]\S*", "embeddings are not read"),
        (
            "an embedding",
            rf"(?<![\w.-])(?i:{'|'.join(map(re.escape, EMBEDDINGS))})(?![\w.-])",
            "embeddings are not read",
        ),
        ("a combination of prompts", r"\bAND(?:_[A-Z]+)?\b", "a study has one prompt"),
        ("a prompt of a region", r"\bADD(?:BASE|COL|COMM|ROW)\b", "a study has one prompt"),
        ("a choice of texts", r"[{}]|__[\w/-]+__", "a study has one prompt"),
        ("a function of compel", r"\.(?:and|or|blend|swap)\(", "a study has one prompt"),
        (
            "a weight of compel",
            r"\)(?:\d|\.\d|[+-]+(?=[\s,.)]|$))|[\w\"](?:\+\++|--+)(?=[\s,.)]|$)|[A-Za-z\"]\+(?=[\s,.)]|$)",
            "a weight is written (word:1.2)",
        ),
        ("a weight of Midjourney", r"::", "a weight is written (word:1.2)"),
        ("an option of Midjourney", r"(?<!\S)--[A-Za-z]\w*", "options are settings of the study"),
    )
)


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt.

    Attributes:
        text: what it says, without syntax.
        weight: of each of its tokens, 1 for none.
    """

    text: str
    weight: float = 1.0


def parse_prompt(prompt: str) -> list[list[Fragment]]:
    """The parts of a prompt that ``BREAK`` separates, each in fragments of one weight.

    Raises:
        ValueError: one line, on syntax that is not read, that is not closed, or on a weight outside [0, 10].
    """
    _refuse_foreign(prompt)
    parts: list[list[Fragment]] = [[]]
    for text, weight in _pieces(prompt):
        last = parts[-1]
        if text is None:
            parts.append([])
        elif last and last[-1].weight == weight:
            last[-1] = Fragment(last[-1].text + text, weight)
        else:
            last.append(Fragment(text, weight))
    return parts


def plain_text(prompt: str) -> str:
    """The text of a prompt for an encoder that knows no weights and has no further window.

    Raises:
        ValueError: one line, as ``parse_prompt``, and on weights and ``BREAK``.
    """
    parts = parse_prompt(prompt)
    if len(parts) > 1:
        raise ValueError(f"no BREAK, for the text encoder has one window{_WAY_OUT}")
    if any(fragment.weight != 1 for fragment in parts[0]):
        raise ValueError(f"no weights, as (word:1.2), (word) or [word], which T5 does not take{_WAY_OUT}")
    return "".join(fragment.text for fragment in parts[0])


def check_length(text: str, tokenizer: Path, limit: int) -> None:
    """Refuse a text that is longer than the window of a T5, which would be cut.

    Args:
        text: the text of a prompt.
        tokenizer: its folder in a pipeline; where there is none, nothing is read.
        limit: tokens of the window, with the one that ends a text.

    Raises:
        ValueError: one line with the number of tokens.
    """
    # No token holds less than a character, but for one before each word and one at the end.
    if len(text) + len(text.split()) + 1 <= limit or not tokenizer.is_dir():
        return
    count = count_tokens(text, tokenizer)
    if count > limit:
        raise ValueError(f"at most {limit} tokens of the tokenizer in {tokenizer}, this has {count}")


def count_tokens(text: str, tokenizer: Path) -> int:
    """Tokens of a text, markers included, by a tokenizer in a folder.

    Raises:
        ValueError: one line, if its files cannot be read.
    """
    file = tokenizer / "tokenizer.json"
    try:
        if not file.is_file():
            # It takes seconds, for a folder with a sentencepiece model alone.
            from transformers import AutoTokenizer

            return len(AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)(text).input_ids)
        from tokenizers import Tokenizer

        loaded = Tokenizer.from_str(read_bytes(file, largest=LARGEST_JSON).decode())
    except (
        Exception
    ) as error:  # of both libraries on what is no tokenizer; theirs have no other class in common
        raise ValueError(
            f"a length that can be counted: {tokenizer} holds no tokenizer ({' '.join(str(error).split())[:200]})"
        ) from error
    loaded.no_truncation()
    loaded.no_padding()
    return len(loaded.encode(text).ids)


_WAY_OUT = "; a backslash before a character or a word takes it as text"


def _refuse_foreign(prompt: str) -> None:
    masked = ESCAPE.sub(lambda match: "x" * len(match[0]), prompt)
    for name, pattern, instead in FOREIGN:
        if match := pattern.search(masked):
            found = prompt[match.start() : match.end()].strip()
            raise ValueError(f"no {found!r}, which reads as {name}: {instead}{_WAY_OUT}")


def _pieces(prompt: str) -> Iterator[tuple[str | None, float]]:
    """Texts with their weights in order; None where a window ends.

    What a bracket weighs is known where it closes, so its pieces wait until then.
    """
    groups: list[tuple[str, list[tuple[str | None, float]]]] = [("", [])]
    for match in SYNTAX.finditer(prompt):
        kind, found = match.lastgroup, match[0]
        inside, pieces = groups[-1]
        if kind == "open":
            groups.append((found, []))
        elif kind == "close" or (kind == "weight" and inside != "["):
            bracket = found[-1]
            if inside != {")": "(", "]": "["}[bracket]:
                raise ValueError(f"no {bracket!r} that nothing opens{_WAY_OUT}")
            groups.pop()
            factor = float(found[1:-1]) if kind == "weight" else STRONGER if inside == "(" else 1 / STRONGER
            groups[-1][1].extend((text, weight * factor) for text, weight in pieces)
        elif found == ":" and inside == "(" and NUMBER.match(prompt, match.end()):
            raise ValueError(f"no number after ':' that does not end at ')': write (word:1.2){_WAY_OUT}")
        elif kind in ("mark", "weight") and inside == "[":
            raise ValueError(
                f"no {found[0]!r} in [..], which reads as words that change on the way{_WAY_OUT}"
            )
        elif kind == "escape":
            pieces.append((found[1:], 1.0))
        else:
            pieces.append((None if kind == "break" else found, 1.0))
    if len(groups) > 1:
        raise ValueError(f"no {groups[-1][0]!r} that nothing closes{_WAY_OUT}")
    for text, weight in groups[0][1]:
        if not 0 <= weight <= LARGEST:
            raise ValueError(f"weights from 0 to {LARGEST:g}, not {weight:g}")
        yield text, weight
