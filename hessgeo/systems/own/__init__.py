"""Samples of one's own: images that are there already, and the parameter point of each."""

from hessgeo.systems.own.images import ImageArray, ImageFiles, describe_images, image_files
from hessgeo.systems.own.points import OwnPoints, OwnSamples, grid_order, pair, read_points

__all__ = [
    "ImageArray",
    "ImageFiles",
    "OwnPoints",
    "OwnSamples",
    "describe_images",
    "grid_order",
    "image_files",
    "pair",
    "read_points",
]
