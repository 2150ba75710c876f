"""How the pages are built: Markdown and docstrings to HTML that asks nobody for anything, not even a font."""

import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import hessgeo

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "hessgeo"
author = "the authors of hessgeo"
version = release = hessgeo.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "equations",
    "benchmark_table",
    "docstrings",
    "outside",
]
exclude_patterns = ["_build", "extensions", "gallery/*.ipynb", "gallery/*.md5", "gallery/**/thumb"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # functions in the settings of the gallery
nitpicky = False

html_theme = "furo"
html_title = "hessgeo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_use_rtype = False
napoleon_attr_annotations = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": r"gallery\.py$",
    "within_subsection_order": ExplicitOrder(
        [
            "blobs.py",
            "digits.py",
            "two_models.py",
            "morph.py",
            "faces.py",
            "phase_diagram.py",
            "own_metric.py",
            "moons.py",
            "*",
        ]
    ),
    "notebook_extensions": set(),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,  # that page would fetch scripts from elsewhere
    "remove_config_comments": True,
    "plot_gallery": False,  # what they say and draw is kept, see keep.py
}
