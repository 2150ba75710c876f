"""Methods of other packages, wrapped once however often the Snakefile is read."""

from hessgeo.pipeline.patches import patch


class Base:
    def says(self):
        return "said"


class Other(Base):
    pass


def in_signs(sign):
    return lambda method: lambda self: f"{sign}{method(self)}{sign}"


def test_a_method_is_wrapped_from_the_inside_out_once_and_by_what_comes_last():
    patch(Other, "says", in_signs("+"), in_signs("-"))
    patch(Other, "says", in_signs("+"), in_signs("-"))
    assert Other().says() == "-+said+-"
    patch(Other, "says", in_signs("*"))
    assert Other().says() == "*said*"
    assert Base().says() == "said"
