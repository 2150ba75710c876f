"""The files that a configuration is read from: each is a mapping that means what it says, or one line says where not.

Snakemake reads its configuration files itself, with a reader of YAML 1.1 that lets the second of two equal keys win,
takes 010 for eight and 1:30 for ninety, and ends in a traceback on a file that refers to itself, nests deeply or is
no text. So every file is read here first, by a stricter reader. What that one lets through, Snakemake's reads alike.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hessgeo.pipeline.derived import merged
from hessgeo.weights.files import read_bytes

LARGEST = 1_000_000  # bytes of a file
MOST_NODES = 100_000  # of a file once everything that it refers to is in place
DEEPEST = 50  # mappings and lists inside each other
LONGEST_LINE = 2_000  # characters of a message
MOST_LINES = 100  # of messages
MOST_DIGITS = 40  # of a whole number

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
_MERGE, _STRING = (f"tag:yaml.org,2002:{name}" for name in ("merge", "str"))
# Octal and sexagesimal numbers of YAML 1.1, which are others in YAML 1.2 and to the eye.
_MISREAD = re.compile(r"[-+]?0_*[0-9][0-9_]*$|.*:")


class SettingsError(ValueError):
    """Settings that are not allowed: a line for each, with its key or place, its value and what is allowed."""

    def __init__(self, lines: Iterable[str]) -> None:
        lines = list(dict.fromkeys(lines))
        more = [f"{len(lines) - MOST_LINES} more lines like these"] if len(lines) > MOST_LINES else []
        super().__init__("\n".join(f"hessgeo: {one_line(line)}" for line in [*lines[:MOST_LINES], *more]))


def one_line(text: str) -> str:
    """A text with everything that would end its line or leave it invisible escaped, and its length bounded."""
    if len(text) > LONGEST_LINE:
        half = LONGEST_LINE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The mapping in a configuration file, YAML or JSON.

    Raises:
        SettingsError: one line that names the file, and line and column where there is one.
    """
    try:
        text = _decode(read_bytes(path, "a configuration file of at most a megabyte", largest=LARGEST))
        return _read_text(text)
    except ValueError as error:
        place = f"{path}, " if str(error).startswith("line ") else f"{path}: "
        message = str(error).removeprefix(f"{path} ")
        place = f"{path} " if message != str(error) else place
        raise SettingsError([f"{place}{message}"]) from error


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise ValueError(
            f"line {line}, column {column}: the byte {content[error.start]:#04x} is no UTF-8; allowed: text in UTF-8"
        ) from error


def _read_text(text: str) -> dict[str, Any]:
    """The mapping in a text; JSON where it is JSON, as Snakemake has it, and otherwise YAML."""
    try:
        content = json.loads(text, object_pairs_hook=_once)
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"it escapes {half!r}, half of a character; allowed: whole ones") from error
    except (ValueError, RecursionError):
        content = read_yaml(text)
    if content is None:
        raise ValueError("the file is empty; allowed: a mapping of settings, such as `run: [digits]`")
    if not isinstance(content, dict):
        raise ValueError(f"the file holds a {type(content).__name__}; allowed: a mapping of settings")
    if "__use_yte__" in content:
        raise ValueError("__use_yte__: templates are not read; allowed: plain YAML")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def read_yaml(text: str, *, plain: bool = False) -> Any:
    """What a YAML text holds.

    Args:
        text: one document.
        plain: take every scalar for text, as Snakemake does with what ``--config`` gives.

    Raises:
        ValueError: one line with line and column: no YAML, two documents, a key that stands twice or is no text, a
            number that YAML 1.1 reads otherwise than it is written, a date, a tag, a text that refers to itself,
            or one that is too deep or too large.
    """
    try:
        loader = yaml.CSafeLoader(text)
        try:
            _refuse_depth(text)
            node = loader.get_single_node()
            if node is None:
                return None
            _NodeCheck(loader, plain).extent(node)
            if not plain:
                # Snakemake's reader is not that of C: of tabs between entries, say, it would name no place.
                for _ in yaml.parse(text, Loader=yaml.SafeLoader):
                    pass
                return loader.construct_document(node)
        finally:
            loader.dispose()
        return yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # A problem that begins with "but" goes on from the context.
        what = f"{error.context} {error.problem}" if "but" in str(error.problem)[:3] else error.problem
        raise ValueError(f"{where}{what or error.context}; allowed: YAML") from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ValueError(f"line {line}, column {column}: {error.reason}; allowed: printable text") from error


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _refusal(event, f"it nests more than {DEEPEST} deep; allowed: less")


def _refusal(node: yaml.Node | yaml.Event, message: str) -> ValueError:
    return ValueError(f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}: {message}")


class _NodeCheck:
    """A document under check; ``extent`` walks it once."""

    def __init__(self, loader: yaml.CSafeLoader, plain: bool) -> None:
        self.loader, self.plain = loader, plain
        self.known: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def extent(self, node: yaml.Node) -> tuple[int, int]:
        """How many nodes there are below one, and how deep, with all that it refers to in place."""
        if id(node) in self.open:
            raise _refusal(node, "it refers to itself; allowed: no reference to a part that holds it")
        if id(node) not in self.known:
            self.open.add(id(node))
            if not self.plain:
                self._refuse_value(node)
            below = [self.extent(child) for child in self._children(node)]
            size, depth = (
                1 + sum(size for size, _ in below),
                1 + max((depth for _, depth in below), default=0),
            )
            if size > MOST_NODES or depth > DEEPEST:
                most = f"{MOST_NODES:,} entries, {DEEPEST} deep"
                raise _refusal(
                    node, f"it refers to too much, {size:,} entries, {depth} deep; allowed: at most {most}"
                )
            self.open.discard(id(node))
            self.known[id(node)] = size, depth
        return self.known[id(node)]

    def _children(self, node: yaml.Node) -> Iterator[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            yield from node.value
        if not isinstance(node, yaml.MappingNode):
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal(key, "a list or mapping is no key; allowed: a name")
            if not self.plain and key.tag not in (_STRING, _MERGE):
                raise _refusal(
                    key, f"the key {key.value or 'null'} is no text; allowed: a name, or quotes around it"
                )
            if key.value in seen:
                raise _refusal(
                    key, f"the key {key.value!r} stands twice, first in line {seen[key.value]}; allowed: once"
                )
            seen[key.value] = key.start_mark.line + 1
            yield value

    def _refuse_value(self, node: yaml.Node) -> None:
        name = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.ScalarNode) and name == "timestamp":
            raise _refusal(
                node, f"{node.value} is a date in YAML; allowed: quotes around a text that looks like one"
            )
        if node.tag not in _TAGS or (
            # A tag that a text does not have by itself, as of `!!int one`.
            isinstance(node, yaml.ScalarNode)
            and node.tag not in (_STRING, self.loader.resolve(yaml.ScalarNode, node.value, (True, False)))
        ):
            raise _refusal(node, f"the tag {node.tag} is not allowed; allowed: plain YAML")
        if name in ("int", "float") and _MISREAD.match(node.value):
            raise _refusal(
                node,
                f"{node.value} is another number in YAML 1.1 (octal, or to base sixty); allowed: a number without "
                "a leading 0 or a colon, or quotes around a text",
            )
        if name == "int" and len(node.value) > MOST_DIGITS:
            raise _refusal(
                node, f"a whole number of {len(node.value)} digits; allowed: at most {MOST_DIGITS}"
            )


def check_command_line(arguments: list[str]) -> None:
    """Read the configuration files and entries that a command line of Snakemake names, before Snakemake does.

    The profiles of the workflow call this while the command line is read.

    Raises:
        SystemExit: with a line for each entry, or for the first file, that cannot be read.
    """
    from snakemake.cli import get_argument_parser

    options, _ = get_argument_parser().parse_known_args(arguments, _Given())
    lines = [
        f"--{name} stands {times} times, of which Snakemake takes the last; allowed: once, with all that it takes"
        for name, times in options.times.items()
        if times > 1
    ]
    entries = options.config or []
    for key, times in Counter(entry.partition("=")[0] for entry in entries).items():
        if times > 1:
            lines.append(f"--config {key!r} stands {times} times; allowed: once")
    lines += [line for line in map(_entry_error, entries) if line]
    with one_line_each():
        if lines:
            raise SettingsError(lines)
        for path in options.configfile or []:
            read_config_file(path)


class _Given(argparse.Namespace):
    """What a command line gives, and how many times it gives what settings come from."""

    def __init__(self) -> None:
        super().__init__(times=Counter())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("config", "configfile") and value:
            self.times[name] += 1
        super().__setattr__(name, value)


@contextmanager
def one_line_each() -> Iterator[None]:
    """End the program with the lines of what is refused, and nothing else."""
    try:
        yield
    except SettingsError as error:
        sys.exit(str(error))


def _entry_error(entry: str) -> str:
    key, equals, value = entry.partition("=")
    if not equals or not re.fullmatch(r"[a-zA-Z_][\w-]*\w", key):
        return f"--config {entry!r} is not allowed; allowed: NAME=VALUE, such as checkpoint=FILE"
    try:
        value.encode()
        read_yaml(value, plain=True)
    except UnicodeEncodeError:
        return f"--config {key}: {value!r} is no text in UTF-8; allowed: text in UTF-8"
    except ValueError as error:
        # Text that is no YAML is a text like any other.
        if not str(error).endswith("; allowed: YAML"):
            return f"--config {key}: {error}"
    return ""


def merge_config(files: Iterable[str | Path], entries: Mapping[str, Any]) -> dict[str, Any]:
    """What configuration files say together, each merged over those before it, and ``--config`` over them all.

    Raises:
        SettingsError: as ``read_config_file``.
    """
    config: dict[str, Any] = {}
    for part in [*map(read_config_file, files), entries]:
        config = merged(config, part)
    return config


def confirm_config(config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse what Snakemake made of files and entries if it is not what they say.

    Args:
        config: Snakemake's configuration.
        own: ours, of ``merge_config``.

    Raises:
        SettingsError: a line for each top-level key that differs.
    """
    # As text, in which NaN is like itself and 1 is not like true or 1.0.
    keys = [key for key in {**own, **config} if _text(own.get(key)) != _text(config.get(key))]
    if keys:
        raise SettingsError(
            f"{key}: Snakemake reads another value in the files; allowed: plain YAML" for key in keys
        )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
