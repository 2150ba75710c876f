"""The front door: a study as an object, from functions, embeddings or a folder, with figures and numbers at hand."""

from hessgeo.study.making import fit, map, open
from hessgeo.study.study import Study

__all__ = ["Study", "fit", "map", "open"]
