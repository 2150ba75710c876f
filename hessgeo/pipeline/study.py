"""One study: its settings completed from the defaults, and checked against each other and the files they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hessgeo.pipeline.checks.embedding import embedding_errors
from hessgeo.pipeline.checks.geodesics import path_errors
from hessgeo.pipeline.checks.history import history_errors
from hessgeo.pipeline.checks.refine import refine_errors
from hessgeo.pipeline.checks.sampling import (
    SIDES,
    parameter_errors,
    resolution_errors,
    sampling_errors,
    slice_errors,
)
from hessgeo.pipeline.checks.system import system_errors
from hessgeo.pipeline.checks.zoom import zoom_errors
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.schema import defaults, fill_defaults, refusal, rules

_UNSET = object()

# What a study that uses the samples of another takes from it.
SHARED = ("seed", "system", "slice", "sampling", "embedding")
CHECKS = (
    slice_errors,
    sampling_errors,
    resolution_errors,
    path_errors,
    history_errors,
    zoom_errors,
    refine_errors,
    embedding_errors,
    system_errors,
)


class StudyCheck:
    """One study under check: its complete settings, and where in the configuration each of them stands.

    Args:
        name: name of its entry in ``studies``.
        config: the whole configuration, complete but for what differs in each study.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.models = name, config["models"]
        self.override = config["studies"][name]
        self.owner = self.override.get("samples") or config["defaults"]["samples"]
        base = config["defaults"]
        if self.owner in config["studies"]:
            shared = {key: config["studies"][self.owner].get(key, {}) for key in SHARED}
            base = merged(base, {key: value for key, value in shared.items() if value != {}})
        settings = merged(base, self.override)
        self.settings = fill_defaults(settings, rules("study"))
        if len(self.settings["sampling"]["grid"]) == 1:
            self._take_first_axis()
        self.config = config
        self.general: dict[str, str] = {}
        for part, key in (("system", "checkpoint"), ("embedding", "clip")):
            if self.settings[part]["kind"] in ("samples", "file"):
                continue
            if self.settings[part]["checkpoint"] is None:
                self.settings[part] = {**self.settings[part], "checkpoint": config[key]}
                self.general[f"{part}.checkpoint"] = key

        self.fault: tuple[str, str] | None = None
        if self.settings["embedding"]["kind"] == "file":
            file = self.settings["embedding"]["file"]
            self.settings["embedding"] = {**self.settings["embedding"], "checkpoint": file}
        sides = [self.settings[part][key] for part, key in (("sampling", "grid"), ("slice", "extent"))]
        if self.settings["system"]["kind"] == "samples" and min(map(len, sides)) == 1:
            key = "sampling.grid" if len(sides[0]) == 1 else "slice.extent"
            self.fault = (key, "that of two parameters, for the kind samples")
        elif self.settings["system"]["kind"] == "samples":
            # Imported here: other studies need no reader of images.
            from hessgeo.pipeline.own import complete

            self.settings, self.fault = complete(self)

    def _take_first_axis(self) -> None:
        """Of a study of one parameter: what it does not say itself is the first of the defaults for two."""
        for key in SIDES:
            part, name = key.split(".")
            if not self.sets(key) and self.settings[part][name] is not None:
                self.settings[part] = {**self.settings[part], name: self.settings[part][name][:1]}
        if not self.sets("posterior.cells"):
            # The same deviation in grid steps.
            cells = self.settings["posterior"]["cells"] ** 0.5
            self.settings["posterior"] = {**self.settings["posterior"], "cells": cells}

    def states(self, key: str) -> bool:
        """Whether a key is set to anything but its default, or by the study itself."""
        default, value = defaults("study"), self.settings
        for part in key.split("."):
            default, value = default[part], value[part]
        return self.sets(key) or value != default

    @property
    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and settings of the studies to build: one, or one for each triplet of anchors."""
        triplets = self.settings["slice"]["triplets"]
        if not triplets:
            yield self.name, self.settings
        for number, anchors in enumerate(triplets, start=1):
            plane = {**self.settings["slice"], "anchors": anchors, "triplets": []}
            owner = f"{self.owner}-{number}" if self.owner else None
            yield f"{self.name}-{number}", {**self.settings, "slice": plane, "samples": owner}

    def line(self, key: str, value: Any, allowed: str) -> str:
        """The line that refuses a value, with the place where it was set."""
        place = f"studies.{self.name}.{key}" if self.sets(key) else f"defaults.{key}"
        return refusal(self.general.get(key, place), value, allowed)

    def sets(self, key: str) -> bool:
        """Whether the study itself sets a key, which the defaults may do for all studies."""
        entry: Any = self.override
        for part in key.partition("[")[0].split("."):
            entry = entry[part] if isinstance(entry, Mapping) and part in entry else _UNSET
        return entry is not _UNSET

    def errors(self) -> Iterator[str]:
        """One line for each entry that does not fit the others, or the files that it names."""
        if self.owner is not None:
            yield from self._owner_errors()
        if self.fault is not None:
            key, allowed = self.fault
            part, name = key.split(".")
            yield self.line(key, self.settings[part][name], allowed)
            return
        if lines := list(parameter_errors(self)):  # others go through them side by side
            yield from lines
            return
        for check in CHECKS:
            yield from check(self)

    def missing(self, part: str, key: str, what: str) -> list[str]:
        """The line that asks for the checkpoint of ``system`` or ``embedding`` where there is none."""
        if self.settings[part]["checkpoint"] is not None:
            return []
        return [refusal(key, None, f"{what}, for {part}.checkpoint of study {self.name} is null")]

    def _owner_errors(self) -> Iterator[str]:
        studies = self.config["studies"]
        known = [name for name in studies if name != self.name and not studies[name].get("samples")]
        if self.owner not in known:
            names = ", ".join(known) or "none here"
            yield self.line("samples", self.owner, f"another study that has samples of its own ({names})")
        for key in SHARED:
            if key in self.override:
                yield self.line(
                    key, self.override[key], f"nothing beside samples, which brings its own {key}"
                )
