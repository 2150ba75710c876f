"""Links out of the pages: on a code host they lead to files and folders, in the pages to a copy or to the gallery."""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

# Markdown outside of the pages is no page, though its name ends like one.
MARKDOWN = re.compile(r"\]\((\.\./[\w/.-]+\.md)\)")


def lead_inside(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to files outside into downloads, and those to the examples into the gallery."""
    source[0] = MARKDOWN.sub(r"](path:\1)", source[0]).replace("](../examples/)", "](gallery/index.rst)")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Do so as pages are read."""
    app.connect("source-read", lead_inside)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
