"""Check a configuration against its JSON schema, in one line of plain words for each mistake."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
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
_Validator = extend(Draft202012Validator, type_checker=_TYPES)


def dotted(path: Iterator[str | int] | list[str | int]) -> str:
    """``studies.digits.sampling.grid[0]`` for the path of an entry."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value as it stands in YAML, cut to one short line."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bounds(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return f" {bounds}{step}" if bounds else step


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
        return " or ".join(allowed(branch) for branch in schema["anyOf"])
    kind = schema.get("type", "")
    if kind in ("integer", "number"):
        return f"{'a whole number' if kind == 'integer' else 'a number'}{_bounds(schema)}"
    if kind == "array":
        return _list_words(schema)
    if kind == "object":
        return f"a mapping with {', '.join(schema['properties'])}" if "properties" in schema else "a mapping"
    if kind == "string":
        suffixes = schema.get("pattern", "").removeprefix("[.](").removesuffix(")$").split("|")
        if suffixes == [""]:
            return "a name or path"
        return f"the path of a {', '.join('.' + suffix for suffix in suffixes[:-1])} or .{suffixes[-1]} file"
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
        yield (
            f"{dotted([*path, str(error.instance)])}: {shown(error.instance)} is not allowed as a name; "
            "allowed: a letter, then letters, digits, _ or -, and none of models, logs, benchmarks, "
            "comparisons, solvable, generative, tables"
        )
    elif error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in sorted(set(map(str, error.instance)) - set(known)):
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            yield f"{dotted([*path, key])}: unknown key; nearest: {near}; allowed: {', '.join(known)}"
    else:
        line = f"{dotted(path)}: {shown(error.instance)} is not allowed; allowed: {allowed(error.schema)}"
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
    return list(dict.fromkeys(line for error in errors for line in _lines(error)))


def fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A copy of ``value`` with the defaults that its schema gives to keys it lacks, at every depth.

    Args:
        value: a configuration, or a part of one, that the schema allows.
        schema: the schema of ``value``.
        root: the whole schema, in which ``$ref`` is looked up.
    """
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list) and "items" in schema:
        return [fill_defaults(entry, schema["items"], root) for entry in value]
    if not isinstance(value, Mapping) or schema.get("type") != "object":
        return value
    filled = dict(value)
    for key, part in schema.get("properties", {}).items():
        target = root["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if key in filled or "default" in target:
            filled[key] = fill_defaults(filled.get(key, target.get("default")), part, root)
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        filled = {key: fill_defaults(entry, more, root) for key, entry in filled.items()}
    return filled
