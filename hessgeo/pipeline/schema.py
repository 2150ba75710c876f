"""Check a configuration against its JSON schema, in one line of plain words for each mistake."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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


_NONE = object()
_NAME = {"type": "string", "x-words": "a letter, then at most 63 letters, digits, _ or -"}


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


def _bounds(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema)
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return f" {bounds}{step}" if bounds else step


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list_words(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    size = f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"
    distinct = "different " if schema.get("uniqueItems") else ""
    return f"a list of {size} {distinct}entries, each {allowed(schema['items'], root)}"


def allowed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a schema, a part of ``root``, allows, in words."""
    schema = _resolved(schema, root)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(allowed(branch, root) for branch in schema["anyOf"])
    kind = schema["type"]
    if isinstance(kind, list):
        return " or ".join(allowed({**schema, "type": one}, root) for one in kind)
    if kind in ("integer", "number"):
        return f"{'a whole number' if kind == 'integer' else 'a number'}{_bounds(schema)}"
    if kind == "array":
        return _list_words(schema, root)
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


def _lines(error: ValidationError, root: Mapping[str, Any]) -> Iterator[str]:
    path = list(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        is_taken = error.validator == "not"
        words = "another name: the workflow has a folder of this one" if is_taken else allowed(_NAME, root)
        key = dotted([*path, str(error.instance)])
        yield f"{key}: {shown(error.instance)} is not allowed as a name; allowed: {words}"
    elif error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in sorted(set(map(str, error.instance)) - set(known)):
            yield f"{dotted([*path, key])}: unknown key{nearest(key, known)}; allowed: {', '.join(known)}"
    else:
        line = (
            f"{dotted(path)}: {shown(error.instance)} is not allowed; allowed: {allowed(error.schema, root)}"
        )
        if "number" in line.partition("; allowed: ")[2] and _is_number_in_text(error.instance):
            line += (
                "; it is text, not a number (1e-3 is text in YAML, 1.0e-3 is a number; --config turns "
                "what stands in lists and mappings into text, --configfile does not)"
            )
        yield line


def schema_errors(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """One line for each entry of a configuration that its schema does not allow."""
    errors = sorted(
        _Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    return list(dict.fromkeys(line for error in errors for line in _lines(error, schema)))


def fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A copy of ``value`` with the defaults that its schema gives to keys it lacks, at every depth.

    Keys stand in the order of the schema: the order of a file, which Snakemake would take for a change, means nothing.

    Args:
        value: a configuration, or a part of one, that the schema allows.
        schema: the schema of ``value``.
        root: the whole schema, in which ``$ref`` is looked up.
    """
    schema = _resolved(schema, root)
    if isinstance(value, list) and "items" in schema:
        return [fill_defaults(entry, schema["items"], root) for entry in value]
    if not isinstance(value, Mapping) or schema.get("type") != "object":
        return value
    filled = {}
    for key, part in schema.get("properties", {}).items():
        default = _resolved(part, root).get("default", _NONE)
        if key in value or default is not _NONE:
            filled[key] = fill_defaults(value.get(key, default), part, root)
    filled |= {key: entry for key, entry in value.items() if key not in filled}
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        filled = {key: fill_defaults(entry, more, root) for key, entry in filled.items()}
    return filled


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what it refers to in it; what stands beside a reference comes first."""
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
