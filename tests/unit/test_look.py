"""Frames and colours of figures are seaborn's, which is not imported: that takes a second."""

import subprocess
import sys

import numpy as np
import pytest

from hessgeo.figures import look, style


def test_the_look_is_that_of_seaborn_where_figures_say_nothing_else():
    import seaborn as sns

    theirs = sns.axes_style("ticks") | sns.plotting_context("paper")
    assert set(theirs) <= set(style.THEME)
    rest = {name: value for name, value in theirs.items() if name in look.FRAMES}
    assert rest.keys() == look.FRAMES.keys()
    numbers = {name: value for name, value in rest.items() if isinstance(value, float)}
    assert {name: look.FRAMES[name] for name in numbers} == pytest.approx(numbers)
    assert {name: look.FRAMES[name] for name in rest.keys() - numbers.keys()} == {
        name: rest[name] for name in rest.keys() - numbers.keys()
    }


@pytest.mark.parametrize("count", [1, 10, 23])
def test_colours_of_lines_are_those_for_all_readers(count):
    import seaborn as sns

    np.testing.assert_array_equal(look.line_colours(count), sns.color_palette("colorblind", count))


def test_colour_maps_are_those_of_seaborn_without_it():
    probe = f"""
import sys
import matplotlib as mpl
from hessgeo.figures import style
assert "seaborn" not in sys.modules and "scipy.stats" not in sys.modules
names = [name + end for name in {look.MAPS} for end in ("", "_r")]
found = {{name: mpl.colormaps[name](range(256)) for name in names}}
import seaborn
assert all((found[name] == getattr(seaborn.cm, name)(range(256))).all() for name in names)
"""
    subprocess.run([sys.executable, "-c", probe], check=True)
