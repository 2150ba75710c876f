"""The settings of a run: ``config.yaml`` checked before any job, each study complete with its defaults."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hessgeo.workflow.schema import fill_defaults, schema_errors, shown

# What the embedded digit models denoise; a checkpoint in a folder says so in its own files.
DIGIT_LATENT_SHAPE = (1, 8, 8)


class SettingsError(ValueError):
    """Settings that are not allowed: a line for each, with its key, its value and what is allowed."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(f"hessgeo: {line}" for line in lines))


@dataclass(frozen=True)
class Settings:
    """A checked configuration.

    Attributes:
        results: folder of everything that is produced.
        models: settings of the embedded models, by name.
        studies: complete settings of every study to build, by name, in the order of ``run``.
    """

    results: str
    models: Mapping[str, Mapping[str, Any]]
    studies: Mapping[str, Mapping[str, Any]]

    def is_embedded(self, study: str, part: str) -> bool:
        """Whether ``part`` (``system`` or ``embedding``) of a study uses an entry of ``models``."""
        settings = self.studies[study][part]
        return settings["kind"] != "pixels" and settings["checkpoint"] in self.models

    def latent_shape(self, study: str) -> tuple[int, ...]:
        """Shape (C, H, W) of one latent of a study's system."""
        return _latent_shape(self.studies[study]["system"]["checkpoint"], self.models)

    def image_shape(self, study: str) -> tuple[int, int, int]:
        """Shape (H, W, C) of one image of a study's system, whose latents are its pixels."""
        channels, height, width = self.latent_shape(study)
        return height, width, channels

    def count(self, study: str) -> int:
        """Number of samples of a study."""
        return _count(self.studies[study]["sampling"])


def _count(sampling: Mapping[str, Any]) -> int:
    return sampling["grid"][0] * sampling["grid"][1] if sampling["design"] == "grid" else sampling["count"]


def _latent_shape(checkpoint: str, models: Mapping[str, Any]) -> tuple[int, int, int]:
    if checkpoint in models:
        return DIGIT_LATENT_SHAPE
    # Imported here: a study of embedded models need not wait for torch whenever its settings are read.
    from hessgeo.systems.diffusion import check_pipeline, latent_shape

    check_pipeline(Path(checkpoint))
    return latent_shape(checkpoint)


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``override``, mappings entry by entry, everything else as a whole."""
    result = dict(base)
    for key, value in override.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


class _Study:
    """One study under check: its complete settings, and where in the configuration each of them stands."""

    def __init__(self, name: str, config: Mapping[str, Any], models: Mapping[str, Any]) -> None:
        self.name = name
        self.override = config["studies"][name]
        self.settings = merged(config["defaults"], self.override)
        self.models = models

    def line(self, key: str, value: Any, allowed: str) -> str:
        entry: Any = self.override
        for part in key.split("."):
            entry = entry.get(part) if isinstance(entry, Mapping) else None
        place = "defaults" if entry is None else f"studies.{self.name}"
        return f"{place}.{key}: {shown(value)} is not allowed; allowed: {allowed}"

    def errors(self) -> Iterator[str]:
        yield from self._slice_errors()
        yield from self._sampling_errors()
        yield from self._resolution_errors()
        yield from self._checkpoint_errors()

    def _slice_errors(self) -> Iterator[str]:
        extent = self.settings["slice"]["extent"]
        if any(low >= high for low, high in extent):
            yield self.line("slice.extent", extent, "[[a_min, a_max], [b_min, b_max]], each increasing")

    def _sampling_errors(self) -> Iterator[str]:
        sampling = self.settings["sampling"]
        design, count, shard = sampling["design"], sampling["count"], sampling["shard"]
        if design == "grid" and count is not None:
            yield self.line("sampling.count", count, "null for the design grid, whose points are its nodes")
        if design != "grid" and count is None:
            yield self.line("sampling.count", None, f"a whole number >= 64 for the design {design}")
        elif _count(sampling) % shard:
            yield self.line("sampling.shard", shard, f"a divisor of the number of points, {_count(sampling)}")

    def _resolution_errors(self) -> Iterator[str]:
        grid, posterior = self.settings["sampling"]["grid"], self.settings["posterior"]
        limit = f"at most the nodes of sampling.grid, {grid}"
        fit = self.settings["free_energy"]
        if fit["fit"] == "spline" and any(
            knots > nodes for knots, nodes in zip(fit["splines"], grid, strict=True)
        ):
            yield self.line("free_energy.splines", fit["splines"], limit)
        coarse = posterior["coarse"]
        if coarse and any(cells > nodes for cells, nodes in zip(coarse, grid, strict=True)):
            yield self.line("posterior.coarse", coarse, limit)
        # A count that is missing has a line of its own.
        points = _count(self.settings["sampling"])
        if points is not None and posterior["neighbours"] >= points:
            yield self.line(
                "posterior.neighbours", posterior["neighbours"], f"fewer than the {points} points"
            )

    def _checkpoint_errors(self) -> Iterator[str]:
        system, embedding = self.settings["system"]["checkpoint"], self.settings["embedding"]["checkpoint"]
        allowed = (
            f"an entry of models ({', '.join(self.models) or 'none here'}), or an existing folder that holds "
        )
        external = self.settings["embedding"]["kind"] == "open_clip" and embedding not in self.models
        if external and not (Path(embedding) / "open_clip_config.json").is_file():
            yield self.line("embedding.checkpoint", embedding, f"{allowed}open_clip_config.json")
        if system not in self.models and not Path(system).is_dir():
            yield self.line("system.checkpoint", system, f"{allowed}an unconditional diffusers pipeline")
            return
        try:
            latent = _latent_shape(system, self.models)
        except ValueError as error:
            yield self.line(
                "system.checkpoint", system, f"{allowed}an unconditional diffusers pipeline ({error})"
            )
        else:
            yield from self._anchor_errors(latent)

    def _anchor_errors(self, latent: tuple[int, ...]) -> Iterator[str]:
        anchors = self.settings["slice"]["anchors"]
        if not isinstance(anchors, str):
            return
        allowed = f"an .npy file of shape {(3, *latent)}, or a seed"
        try:
            shape = np.load(anchors, mmap_mode="r", allow_pickle=False).shape
        except (OSError, ValueError, EOFError) as error:
            yield self.line("slice.anchors", anchors, f"{allowed} ({type(error).__name__} on reading it)")
        else:
            if shape != (3, *latent):
                yield self.line("slice.anchors", anchors, f"{allowed} (its shape is {shape})")


def _run_errors(config: Mapping[str, Any]) -> Iterator[str]:
    known = list(config["studies"])
    for place, name in enumerate(config["run"]):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"; nearest: {near[0]}" if near else ""
            allowed = ", ".join(known) or "none here"
            line = (
                f"run[{place}]: {shown(name)} is not allowed; allowed: an entry of studies ({allowed}){hint}"
            )
            yield line


def _results_errors(results: str) -> Iterator[str]:
    folder = Path(results).absolute()
    while not folder.exists() and not folder.is_symlink():
        folder = folder.parent
    try:
        # A nameless file: the one test that holds for root and on a read-only disk too, and leaves nothing.
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        yield (
            f"results: {shown(results)} is not allowed; allowed: a folder that can be written to "
            f"({error.strerror} at {folder})"
        )


def read_settings(config: Mapping[str, Any], schema: Path) -> Settings:
    """Check a configuration and complete it.

    A study is ``defaults`` with its own entries merged in, entry by entry; what ``defaults`` lacks comes from
    the schema. Paths are relative to the working directory. Nothing is created.

    Args:
        config: the content of ``config.yaml`` and of what was merged into it.
        schema: the file ``config.schema.yaml``.

    Raises:
        SettingsError: one line for each entry that is not allowed.
    """
    rules = yaml.safe_load(schema.read_text(encoding="utf-8"))
    if errors := schema_errors(config, rules):
        raise SettingsError(errors)
    complete = {key: config.get(key, part.get("default", {})) for key, part in rules["properties"].items()}
    for key in ("defaults", "models"):
        complete[key] = fill_defaults(complete[key], {"type": "object", **rules["properties"][key]}, rules)
    errors = [*_results_errors(complete["results"]), *_run_errors(complete)]
    studies = [
        _Study(name, complete, complete["models"]) for name in complete["run"] if name in complete["studies"]
    ]
    errors += [line for study in studies for line in study.errors()]
    if errors:
        raise SettingsError(list(dict.fromkeys(errors)))
    return Settings(
        results=complete["results"],
        models=complete["models"],
        studies={study.name: study.settings for study in studies},
    )
