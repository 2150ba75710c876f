"""Docstrings as they are written here: in plain words, where ``|x|`` is an absolute value and ``*`` a product.

Lines that are set in after an empty one are code.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

# Literals stay as they are; outside of them these signs mean themselves.
LITERAL = re.compile(r"(``.+?``)")
SIGNS = re.compile(r"(?<!\\)([|*])")


def plain(line: str) -> str:
    """A line whose signs reStructuredText reads neither as a substitution nor as emphasis."""
    parts = LITERAL.split(line)
    parts[::2] = [SIGNS.sub(r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def marked(lines: list[str]) -> list[str]:
    """Lines with code said to be such, and the signs of all others kept."""
    found: list[str] = []
    code, before = False, ""
    for k, line in enumerate(lines):
        inside = line.startswith("    ")
        if inside and not code and k and not lines[k - 1].strip() and before and not before.startswith(" "):
            code = True
            found += ["::", ""]
        elif line.strip() and not inside:
            code = False
        found.append(line if code else plain(line))
        before = line if line.strip() else before
    return found


def keep_signs(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Mark a docstring in place."""
    lines[:] = marked(lines)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Do so before Napoleon, whose own marks are to stay."""
    app.connect("autodoc-process-docstring", keep_signs, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
