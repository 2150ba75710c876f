"""Settings of a study that no file tells: the workflow's defaults, checked by the same rules, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hessgeo.grids import Grid
from hessgeo.pipeline.checks.sampling import parameter_errors, resolution_errors, slice_errors
from hessgeo.pipeline.config_files import SettingsError
from hessgeo.pipeline.schema import fill_defaults, refusal, rules, schema_errors
from hessgeo.pipeline.study import StudyCheck

_NAME = "study"  # of the one study of a configuration; what is refused is named without it


def study_settings(entries: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a study, those given checked as in a configuration file and those left out by default.

    Splines that the fit has by default are at most as many as the nodes.

    Args:
        entries: sections of a study, or entries of them; None stands for what is left out.

    Raises:
        SettingsError: one line for each entry that is not allowed.
    """
    given = _plain({key: value for key, value in entries.items() if value is not None})
    config = {"run": [_NAME], "studies": {_NAME: given}}
    if errors := schema_errors(config):
        raise SettingsError(list(map(_named, errors)))
    complete = fill_defaults(config, rules("config"))
    splines = complete["defaults"]["free_energy"]["splines"]
    nodes = given.get("sampling", {}).get("grid", complete["defaults"]["sampling"]["grid"])
    if len(nodes) != 2:
        line = refusal(
            "sampling.grid", nodes, "two node counts; studies of one parameter are built by the workflow"
        )
        raise SettingsError([line])
    complete["defaults"]["free_energy"]["splines"] = [min(pair) for pair in zip(splines, nodes, strict=True)]
    check = StudyCheck(_NAME, complete)
    errors = list(parameter_errors(check)) or [*slice_errors(check), *resolution_errors(check)]
    if check.settings["posterior"]["kind"] == "network":
        errors.append(
            check.line("posterior.kind", "network", "distance: a network is trained by the workflow")
        )
    if errors:
        raise SettingsError(list(map(_named, errors)))
    settings: dict[str, Any] = check.settings
    return settings


def grid_of(settings: Mapping[str, Any]) -> Grid:
    """The nodes of a study."""
    along_a, along_b = map(tuple, settings["slice"]["extent"])
    na, nb = settings["sampling"]["grid"]
    return Grid((along_a, along_b), (na, nb))


def _named(line: str) -> str:
    return line.removeprefix(f"studies.{_NAME}.").removeprefix("defaults.")


def _plain(value: Any) -> Any:
    """Tuples and numbers of numpy as a file would have them."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value
