"""Whether the embedding of a study can be loaded, and knows its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.derived import DIGIT_LATENT_SHAPE, image_shape, sample_count
from hessgeo.pipeline.schema import shown

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

# What the embedded CLIPs know: the digits that the embedded models make.
DIGIT_SHAPE = (*DIGIT_LATENT_SHAPE[1:], DIGIT_LATENT_SHAPE[0])


def embedding_errors(check: StudyCheck) -> Iterator[str]:
    """A line if the embedding cannot be loaded, or knows other images than the study has."""
    from hessgeo.features import embedding_of

    embedding, system = check.settings["embedding"], check.settings["system"]
    if embedding["kind"] == "file":
        yield from _file_errors(check, embedding)
        return
    if embedding["file"] is not None:
        yield check.line("embedding.file", embedding["file"], f"null for the kind {embedding['kind']}")
    if embedding["kind"] != "network":
        for key, value in {"output": embedding["output"], **_said(embedding)}.items():
            if value is not None:
                yield check.line(f"embedding.{key}", value, f"null for the kind {embedding['kind']}")
    elif embedding["dtype"] != "float32":
        yield check.line("embedding.dtype", embedding["dtype"], "float32: the file has its own precision")
    if embedding["kind"] == "pixels":
        if embedding["model"] is not None:
            yield check.line("embedding.model", embedding["model"], "null for the kind pixels")
        # The defaults are for studies of every kind, and a study's checkpoint may be for that of the defaults.
        for key, neutral in (("checkpoint", None), ("dtype", "float32")):
            set_here = check.sets("embedding.kind") and check.sets(f"embedding.{key}")
            if set_here and embedding[key] != neutral:
                yield check.line(
                    f"embedding.{key}",
                    embedding[key],
                    f"{shown(neutral)} for the kind pixels, which has no network",
                )
        return
    if embedding["kind"] == "open_clip" and embedding["checkpoint"] in check.models:
        knows = system["kind"] == "diffusion" and system["checkpoint"] in check.models
        if not knows and (system["kind"] != "samples" or image_shape(system, check.models) != DIGIT_SHAPE):
            allowed = (
                "the files of a model, or null beside --config clip=FILE: an embedded CLIP knows digits alone"
            )
            yield check.line("embedding.checkpoint", embedding["checkpoint"], allowed)
        if embedding["model"] is not None:
            yield check.line("embedding.model", embedding["model"], "null for an embedded CLIP")
        return
    if missing := check.missing("embedding", "clip", "a weights file or a model folder"):
        yield from missing
        return
    try:
        embedding_of(embedding, embedding["checkpoint"]).check()
    except ValueError as error:
        allowed = f"an entry of models ({', '.join(check.models) or 'none here'}), or the files of a model"
        yield check.line("embedding.checkpoint", embedding["checkpoint"], f"{allowed} ({error})")


def _said(embedding: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings say of a network's input."""
    return {f"input.{key}": value for key, value in embedding["input"].items()}


def _file_errors(check: StudyCheck, embedding: Mapping[str, Any]) -> Iterator[str]:
    """A line if the features cannot be read, or are not one for each point, and for what they have no use for."""
    from hessgeo.features.file import ALLOWED, FeatureFile

    for key in embedding:
        if key not in ("kind", "file") and check.sets(f"embedding.{key}"):
            value = check.override["embedding"][key]
            yield check.line(f"embedding.{key}", value, "nothing for the kind file, whose features are there")
    if embedding["file"] is None:
        yield check.line("embedding.file", None, f"{ALLOWED}, for the kind file")
        return
    count = sample_count(check.settings["sampling"])
    try:
        rows, _ = FeatureFile(embedding["file"]).shape
        if count is not None and rows != count:
            raise ValueError(
                f"{embedding['file']} has {rows} rows, must have one for each of the {count} points"
            )
    except ValueError as error:
        yield check.line("embedding.file", embedding["file"], f"{ALLOWED} ({error})")
