"""The explorer: one page a study, with its maps, images and geodesics in it, that asks nobody for anything."""

from hessgeo.explorer.assemble import Content, assemble
from hessgeo.explorer.atlas import Atlas, make_atlas
from hessgeo.explorer.layers import Layer, study_layers

__all__ = ["Atlas", "Content", "Layer", "assemble", "make_atlas", "study_layers"]
