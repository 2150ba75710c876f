"""Equations as MathML, with a font for them beside the pages: no script runs, and none is fetched."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from docutils import nodes
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

FONT = "stix-two-math.woff"


def visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    """An equation within a line."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """An equation of its own, that scrolls where it is wider than the page."""
    writer.body.append(f'<div class="equation">{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def copy_font(app: Sphinx, failure: Exception | None) -> None:
    """Put STIX Two Math (OFL), which the package ziamath carries, beside the pages."""
    if failure is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", FONT)
        with as_file(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf") as source, TTFont(source) as font:
            font.flavor = "woff"
            font.save(target)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make this the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", copy_font)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
