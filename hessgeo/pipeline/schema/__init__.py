"""The settings there are: types, bounds, defaults and meanings in the files beside this one, and how they are checked.

The files are the one source of all this: ``config.yaml`` is written from them by ``python -m hessgeo.pipeline.schema``.
They hold JSON schema, with a few words of their own for what is said often:

- ``type: NAME``: what stands under that name in any of the files;
- ``section: {..}``: a mapping that may hold these entries and no others, by default an empty one;
- ``whole: [1, 8]``, ``number: [0, 1]``: within these bounds, which are allowed;
- ``pair: X``, ``sides: X``, ``distinct: X``: a list of two, of one or two (an axis each), or of different ones;
- ``or: null``, ``or: auto``: this, or what stands beside it;
- ``x-partial: true``: of a mapping that is merged over another: what it lacks is not filled in;
- ``x-words``: what a text must be, in words.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

# JSON has neither NaN nor a difference between 64 and 64.0; a configuration must have both differences.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
        "object": lambda _, value: isinstance(value, Mapping),
    }
)
_NAME = {"type": "string", "x-words": "a letter, then at most 63 letters, digits, _ or -"}

# What words of our own stand for.
_WORDS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "section": lambda entries: {
        "type": "object",
        "additionalProperties": False,
        "default": {},
        "properties": entries,
    },
    "whole": lambda bounds: {"type": "integer", "minimum": bounds[0], "maximum": bounds[1]},
    "number": lambda bounds: {"type": "number", "minimum": bounds[0], "maximum": bounds[1]},
    "pair": lambda each: {"type": "array", "minItems": 2, "maxItems": 2, "items": each},
    "sides": lambda each: {"type": "array", "minItems": 1, "maxItems": 2, "items": each},
    "distinct": lambda each: {"type": "array", "uniqueItems": True, "items": each},
}
# What is said of an entry and not of its values.
_ABOUT = ("description", "default", "examples", "x-partial")


@cache
def _named() -> dict[str, Any]:
    """What the files hold, by name."""
    named: dict[str, Any] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            # The reader in C is eight times as fast as the one in Python.
            named |= yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return named


@cache
def rules(name: str) -> dict[str, Any]:
    """The JSON schema of what has this name in the files, complete in itself: of the whole ``config``, or a part."""
    return _expanded(_named()[name])


def _expanded(part: Any) -> Any:
    """A schema with JSON schema in place of our own words."""
    if isinstance(part, list):
        return [_expanded(entry) for entry in part]
    if not isinstance(part, Mapping):
        return part
    found: dict[str, Any] = {}
    for word, value in part.items():
        if word == "type" and value in _named():
            found |= rules(value)
        elif word in ("section", "properties"):
            entries = {key: _expanded(entry) for key, entry in value.items()}
            found |= _WORDS[word](entries) if word in _WORDS else {word: entries}
        elif word in _WORDS:
            found |= _WORDS[word](_expanded(value))
        elif word != "or":
            found[word] = value if word in (*_ABOUT, "enum") else _expanded(value)
    found |= {word: part[word] for word in _ABOUT if word in part}
    if "or" in part:
        other = {"type": "null"} if part["or"] is None else {"const": part["or"]}
        about = {word: found.pop(word) for word in _ABOUT if word in found}
        found = {"anyOf": [other, found], **about}
    return found


def _unique_items(
    validator: Any, unique: bool, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """As jsonschema's own, which takes the square of the length of a list; one too long is refused for that."""
    if not isinstance(instance, list) or len(instance) <= schema.get("maxItems", math.inf):
        yield from Draft202012Validator.VALIDATORS["uniqueItems"](validator, unique, instance, schema) or ()


_Validator = extend(Draft202012Validator, {"uniqueItems": _unique_items}, type_checker=_TYPES)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; nearest: digits`` for a name that is not among the known, which are not none."""
    near = difflib.get_close_matches(name[:80], list(known), n=1, cutoff=0.0)
    return f"; nearest: {near[0]}" if near else ""


def listed(names: Iterable[str]) -> str:
    """Names in a line, the first twenty of many."""
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more or "none here"


def dotted(path: Iterator[str | int] | list[str | int]) -> str:
    """``studies.digits.sampling.grid[0]`` for the path of an entry."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value as it stands in YAML, cut to one short line."""
    if isinstance(value, str):
        value = value[:200]
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    except (
        ValueError,
        TypeError,
        RecursionError,
    ):  # of what no file can hold: whole numbers of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def refusal(key: str, value: Any, allowed: str) -> str:
    """The line that refuses a value."""
    return f"{key}: {shown(value)} is not allowed; allowed: {allowed}"


def unknown_names(key: str, names: Iterable[str], known: Iterable[str], section: str) -> Iterator[str]:
    """The lines that refuse the names in a list that are no entries of a section, whose names are ``known``."""
    known = list(known)
    for place, name in enumerate(names):
        if name not in known:
            allowed = f"an entry of {section} ({listed(known)}){nearest(name, known)}"
            yield refusal(f"{key}[{place}]", name, allowed)


def _bounds(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema)
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return f" {bounds}{step}" if bounds else step


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list_words(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    size = f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"
    distinct = "different " if schema.get("uniqueItems") else ""
    return f"a list of {size} {distinct}entries, each {allowed(schema['items'])}"


def allowed(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    kind = schema["type"]
    if kind in ("integer", "number"):
        return f"{'a whole number' if kind == 'integer' else 'a number'}{_bounds(schema)}"
    if kind == "array":
        return _list_words(schema)
    if kind == "object":
        return f"a mapping with {', '.join(schema['properties'])}" if "properties" in schema else "a mapping"
    if kind == "string":
        return schema.get("x-words", "a text")
    return {"boolean": "true or false", "null": "null"}[kind]


def _is_number_in_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _lines(error: ValidationError) -> Iterator[str]:
    path = list(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        is_taken = error.validator == "not"
        words = "another name: the workflow has a folder of this one" if is_taken else allowed(_NAME)
        key = dotted([*path, str(error.instance)])
        yield f"{key}: {shown(error.instance)} is not allowed as a name; allowed: {words}"
    elif error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in sorted(set(map(str, error.instance)) - set(known)):
            yield f"{dotted([*path, key])}: unknown key{nearest(key, known)}; allowed: {', '.join(known)}"
    elif error.validator == "required":
        for key in (key for key in error.validator_value if key not in error.instance):
            yield f"{dotted([*path, key])}: is missing; allowed: {allowed(error.schema['properties'][key])}"
    else:
        line = refusal(dotted(path), error.instance, allowed(error.schema))
        if "number" in line.partition("; allowed: ")[2] and _is_number_in_text(error.instance):
            line += (
                "; it is text, not a number (1e-3 is text in YAML, 1.0e-3 is a number; --config turns "
                "what stands in lists and mappings into text, --configfile does not)"
            )
        yield line


def schema_errors(config: Mapping[str, Any]) -> list[str]:
    """One line for each entry of a configuration that its schema does not allow."""
    errors = sorted(
        _Validator(rules("config")).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    return list(dict.fromkeys(line for error in errors for line in _lines(error)))


def fill_defaults(value: Any, schema: Mapping[str, Any], *, partial: bool = False) -> Any:
    """A copy of ``value`` with the defaults that its schema gives to keys it lacks, at every depth.

    Keys stand in the order of the schema: the order of a file, which Snakemake would take for a change, means nothing.

    Args:
        value: a configuration, or a part of one, that the schema allows.
        schema: the schema of ``value``, of ``rules``.
        partial: fill nothing in, only put keys in order.
    """
    partial = partial or schema.get("x-partial", False)
    if isinstance(value, list) and "items" in schema:
        return [fill_defaults(entry, schema["items"], partial=partial) for entry in value]
    if not isinstance(value, Mapping) or schema.get("type") != "object":
        return value
    filled = {}
    for key, part in schema.get("properties", {}).items():
        if key in value or ("default" in part and not partial):
            filled[key] = fill_defaults(value.get(key, part.get("default")), part, partial=partial)
    filled |= {key: entry for key, entry in value.items() if key not in filled}
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        filled = {key: fill_defaults(entry, more, partial=partial) for key, entry in filled.items()}
    return filled


def defaults(name: str) -> dict[str, Any]:
    """The defaults of every setting in what has this name in the files."""
    return fill_defaults({}, rules(name))
