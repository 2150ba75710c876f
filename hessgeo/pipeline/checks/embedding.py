"""Whether the embedding of a study can be loaded, and knows its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.schema import shown

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck


def embedding_errors(check: StudyCheck) -> Iterator[str]:
    """A line if the embedding cannot be loaded, or knows other images than the study has."""
    from hessgeo.features import embedding_of

    embedding, system = check.settings["embedding"], check.settings["system"]
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
        if system["kind"] != "diffusion" or system["checkpoint"] not in check.models:
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
