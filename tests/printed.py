"""What holds of every figure as it is printed: nothing of it is cut off, and all that it says can be read."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from hessgeo.figures import style


def texts(figure):
    """All that a figure says."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def said(figure):
    """The same in one line, however it is broken."""
    return " ".join(" ".join(texts(figure)).split())


def assert_whole(figure, slack=0.0):
    """Nothing lies outside by more than ``slack`` inches."""
    with style.theme():
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) >= -slack, f"{box} is cut off at the left or below"
    assert box.x1 <= width + slack, f"{box} is wider than {width}"
    assert box.y1 <= height + slack, f"{box} is higher than {height}"


def assert_printable(figure):
    """It is as wide as a column or two, no higher than a page, and its text has a size of 7 to 9 points."""
    width, height = figure.get_size_inches()
    assert width in (style.SINGLE_COLUMN, style.DOUBLE_COLUMN), f"{width} is not the width of a column or two"
    assert height <= style.PAGE_HEIGHT, f"{height} is higher than a page"
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()}
    assert 7 <= min(sizes) <= max(sizes) <= 9, f"{sorted(sizes)} are not of 7 to 9 points"
