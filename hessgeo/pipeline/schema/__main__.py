"""Print ``config.yaml``: every setting with its default, or what stands in its place there, and its meaning."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import yaml

from hessgeo.pipeline.schema import fill_defaults, rules

HEAD = """\
# Settings of hessgeo, all of them. Written by `python -m hessgeo.pipeline.schema > config.yaml` from the files in
# hessgeo/pipeline/schema, against which every entry is checked before any job runs. Settings of your own go into
# another file, given by --configfile and merged over this one, entry by entry.
"""
COLUMN, WIDTH = 28, 120  # where comments begin, and where lines end
WHOLE: Mapping[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def config_text() -> str:
    """The text of ``config.yaml``."""
    return "\n".join([HEAD, *_lines(_shown(rules("config")), rules("config"), 0), ""])


def _shown(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Every entry of a section: the defaults, or an example where there is one."""
    shown = {}
    for key, part in schema["properties"].items():
        entry = part.get("examples", [part.get("default")])[0]
        shown[key] = {**_shown(part), **entry} if "properties" in part else fill_defaults(entry, part)
        if key == "systems" and "examples" in part:
            shown[key] = entry  # each as short as can be
    return shown


def _lines(section: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, entry in section.items():
        part = schema.get("properties", {}).get(key) or schema["additionalProperties"]
        named = "properties" not in schema  # an entry of a name, which is opened where it shows all there is
        opens = isinstance(entry, Mapping) and entry and (not named or fill_defaults(entry, part) == entry)
        if depth == 0 and opens:
            yield ""
        about = "" if named else part.get("description", "")
        yield from _line(f"{key}:" if opens else f"{key}: {_flow(entry)}", about, "  " * depth)
        if opens:
            yield from _lines(entry, part, depth + 1)


def _line(text: str, about: str, indent: str) -> Iterator[str]:
    """An entry with its meaning behind it, or before it where that is too long for a line."""
    line = f"{indent + text:<{COLUMN - 2}}  # {about}"
    if about and len(line) <= WIDTH:
        yield line
        return
    if about:
        yield from wrap(about, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", **WHOLE)
    yield from wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", **WHOLE)


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump([value], default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.strip()[1:-1]


if __name__ == "__main__":
    sys.stdout.write(config_text())
