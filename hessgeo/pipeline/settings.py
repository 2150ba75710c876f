"""The settings of a run: ``config.yaml`` checked before any job, each study complete with its defaults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hessgeo.pipeline.checks.generative import generative_errors
from hessgeo.pipeline.checks.results import name_errors, results_errors, storage_errors
from hessgeo.pipeline.config_files import SettingsError, confirm_config, merge_config
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.schema import (
    defaults,
    fill_defaults,
    listed,
    refusal,
    rules,
    schema_errors,
    unknown_names,
)
from hessgeo.pipeline.solvable import solvable_errors
from hessgeo.pipeline.study import StudyCheck

__all__ = ["Settings", "SettingsError", "merged", "read_configuration", "read_settings", "study_defaults"]


@dataclass(frozen=True)
class Settings:
    """A checked configuration.

    Attributes:
        results: folder of everything that is produced.
        storage: where samples, embeddings and posteriors are kept.
        models: settings of the embedded models, by name.
        studies: complete settings by name, of every study to build and of those whose samples they use.
        run: names of the studies to build, in their order; a study with several triplets is one for each.
        comparisons: names of the studies that each figure sets side by side.
        differences: settings of what is measured between the studies of a comparison.
        solvable: settings of the systems with exact answers and their tables.
        generative: settings of the geodesics of densities.
    """

    results: str
    storage: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    studies: Mapping[str, Mapping[str, Any]]
    run: tuple[str, ...]
    comparisons: Mapping[str, tuple[str, ...]]
    differences: Mapping[str, Any]
    solvable: Mapping[str, Any]
    generative: Mapping[str, Any]


def study_defaults() -> dict[str, Any]:
    """The settings of a study that says nothing: a copy of every default, in sections as of ``Settings.studies``."""
    return defaults("study")


def read_configuration(
    config: Mapping[str, Any], *, files: Sequence[str | Path], entries: Mapping[str, Any]
) -> Settings:
    """The settings of a run of Snakemake, whose files are read again, strictly.

    Args:
        config: what Snakemake made of files and entries.
        files: configuration files, each merged over those before it.
        entries: those of ``--config``, merged over them all.

    Raises:
        SettingsError: one line for each entry that is not allowed.
    """
    own = merge_config(files, entries)
    settings = read_settings(own)
    confirm_config(config, own)
    return settings


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Check a configuration and complete it.

    A study is ``defaults`` with its own entries merged in, entry by entry; what ``defaults`` lacks comes from
    the schema. Paths are relative to the working directory. Nothing is created.

    Args:
        config: the content of ``config.yaml`` and of what was merged into it.

    Raises:
        SettingsError: one line for each entry that is not allowed.
    """
    if errors := schema_errors(config):
        raise SettingsError(errors)
    complete = fill_defaults(config, rules("config"))
    checks = {name: StudyCheck(name, complete) for name in complete["run"] if name in complete["studies"]}
    for check in list(checks.values()):
        if check.owner in complete["studies"]:
            checks.setdefault(check.owner, StudyCheck(check.owner, complete))
    variants = [variant for check in checks.values() for variant in check.variants]
    run = tuple(name for entry in complete["run"] if entry in checks for name, _ in checks[entry].variants)
    if errors := [*_errors(complete, list(checks.values())), *_variant_errors(complete, variants, run)]:
        raise SettingsError(errors)
    return Settings(
        results=str(PurePosixPath(complete["results"])),
        storage=complete["storage"],
        models=complete["models"],
        studies=dict(variants),
        run=run,
        comparisons={name: tuple(entries) for name, entries in complete["comparisons"].items()},
        differences=complete["differences"],
        solvable=complete["solvable"],
        generative=complete["generative"],
    )


def _errors(complete: Mapping[str, Any], checks: Sequence[StudyCheck]) -> Iterator[str]:
    """A line for each entry that does not fit the others, or the files that it names."""
    yield from results_errors(complete["results"])
    yield from storage_errors(complete["storage"]["url"])
    yield from name_errors(complete)
    yield from unknown_names("run", complete["run"], complete["studies"], "studies")
    yield from generative_errors(complete["generative"], complete["models"])
    for check in checks:
        yield from check.errors()
    for part, key in (("system.checkpoint", "checkpoint"), ("embedding.checkpoint", "clip")):
        if complete[key] is not None and not any(part in check.general for check in checks):
            allowed = f"null where no study that is built leaves its {part} to it by null"
            yield refusal(key, complete[key], allowed)
    yield from solvable_errors(complete["solvable"])


def _variant_errors(
    complete: Mapping[str, Any], variants: Sequence[tuple[str, Any]], run: Sequence[str]
) -> Iterator[str]:
    """A line for each name that two studies have, and for each that is compared and not built."""
    for name, count in Counter(name.casefold() for name, _ in variants).items():
        if count > 1:
            words = "two studies have this name once their triplets are numbered; allowed: another name"
            yield f"studies.{name}: {words}"
    for name, entries in complete["comparisons"].items():
        for place, study in enumerate(entries):
            if study in run and len(dict(variants)[study]["sampling"]["grid"]) == 1:
                yield refusal(f"comparisons.{name}[{place}]", study, "a study of two parameters")
            if study not in run:
                allowed = f"a study that is built ({listed(run)})"
                yield refusal(f"comparisons.{name}[{place}]", study, allowed)
