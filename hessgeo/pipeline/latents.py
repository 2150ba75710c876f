"""Whether studies of a comparison are of the same latents, and which of their settings differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.identity import canonical, design_identity, slice_identity
from hessgeo.pipeline.schema import refusal

if TYPE_CHECKING:
    from hessgeo.pipeline.study_layout import StudyLayout

# What differs between studies, in words for the line that refuses to compare them.
PARTS = {
    "plane": "the same slice",
    "points": "the same points and grid",
    "latents": "latents of the same shape",
    "embedding": "the same embedding",
}

NOISE = frozenset({"system.eta", "system.eta_rule", "seed"})  # what studies of a scan over noise differ in
FEWEST = 3  # amounts of noise that make a scan, none among them


def latents_of(study: StudyLayout) -> dict[str, Any]:
    """What must be alike of studies that are compared cell by cell."""
    plane = {"own": study.grid} if study.is_own else slice_identity(study.setting("slice"))
    if study.inverts_images:
        # Every model inverts an image to a latent of its own.
        plane["inverted by"] = study.sampling["system"]
    points = {"nodes": study.grid["shape"], **design_identity(study.setting("sampling"))}
    if study.setting("sampling", "design") != "grid":
        points["seed"] = study.setting("seed")
    shape = None if study.is_own else study.latent_shape
    return canonical({"plane": plane, "points": points, "latents": shape, "embedding": study.embedding})


def latents_errors(comparison: str, studies: Sequence[StudyLayout]) -> Iterator[str]:
    """A line for each study of a comparison whose cells are not those of the first."""
    known = latents_of(studies[0])
    if studies[0].is_own or studies[0].setting("embedding", "kind") == "file":
        allowed = "a study whose model can draw its cells again, for the target compare"
        yield refusal(f"comparisons.{comparison}[0]", studies[0].name, allowed)
    for place, study in enumerate(studies[1:], start=1):
        found = latents_of(study)
        different = [words for key, words in PARTS.items() if found[key] != known[key]]
        if different:
            allowed = f"a study with {' and '.join(different)} as {studies[0].name}, for the target compare"
            yield refusal(f"comparisons.{comparison}[{place}]", study.name, allowed)


def changed_settings(first: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of one study that differ from those of another, by their path."""
    found: dict[str, Any] = {}
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(first.get(key), Mapping):
            found |= changed_settings(first[key], value, f"{prefix}{key}.")
        elif value != first.get(key):
            found[f"{prefix}{key}"] = value
    return found


def scans_noise(studies: Sequence[Mapping[str, Any]]) -> bool:
    """Whether studies are one that has no noise, and others that have some and differ from it in nothing else.

    Args:
        studies: their settings.
    """
    first = studies[0]
    if (
        first["system"]["kind"] != "diffusion"
        or first["system"]["eta"] > 0
        or len(first["sampling"]["grid"]) != 2
    ):
        return False
    if any(changed_settings(first, other).keys() - NOISE for other in studies[1:]):
        return False
    return len({study["system"]["eta"] for study in studies}) >= FEWEST
