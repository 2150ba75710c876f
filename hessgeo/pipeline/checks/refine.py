"""Whether a study can be refined, and as it asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

MOST_NODES = 4097  # along a side of the finest grid


def no_refinement(study: Mapping[str, Any]) -> str:
    """What a study lacks to be refined, in words that follow ``needs``; empty if nothing."""
    if study["system"]["kind"] == "samples":
        return "a model to ask for new images; system.kind is samples"
    if study["embedding"]["kind"] == "file":
        return "an embedding that can be had of new images; embedding.kind is file"
    if study["sampling"]["design"] != "grid" or len(study["sampling"]["grid"]) != 2:
        return "an image on every node of a plane: sampling.design grid, with two sides"
    return ""


def finest_shape(study: Mapping[str, Any]) -> tuple[int, int]:
    """Nodes of the finest grid along both axes, those of the study among them."""
    a, b = ((nodes - 1) * 2 ** study["refine"]["levels"] + 1 for nodes in study["sampling"]["grid"])
    return a, b


def refine_errors(check: StudyCheck) -> Iterator[str]:
    """A line for a refinement that a study asks for and cannot have; defaults are for those that can."""
    asked, settings = check.override.get("refine", {}), check.settings
    if not asked:
        return
    refine = settings["refine"]
    if need := no_refinement(settings):
        key = next(iter(asked))
        allowed = f"nothing here: a refinement, which this study cannot have, needs {need}"
        yield check.line(f"refine.{key}", refine[key], allowed)
        return
    if max(finest_shape(settings)) > MOST_NODES:
        allowed = (
            f"fewer, for at most {MOST_NODES:,} nodes along a side; these are {max(finest_shape(settings)):,}"
        )
        yield check.line("refine.levels", refine["levels"], allowed)
    if refine["by"] == "embedding" and refine["error"] is None:
        yield check.line(
            "refine.by", refine["by"], "boundary where refine.error is null: it has units of its own"
        )
