"""What the rules of the workflow have in common, and which paths they make.

A rule says what is its own; ``complete_rules`` gives it the rest, so that runs have it with and without a profile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any

from hessgeo.pipeline.layout import Layout

# Of a rule with a script that says nothing else; on one thread, as Snakemake has it.
ENVIRONMENT = "../../envs/hessgeo.yaml"  # beside workflow/rules
RESOURCES = {"mem_mb": 4_000, "runtime": "60m"}

# A wildcard in a rule's path, whose constraint may hold braces of its own, as in ``{key,[0-9a-f]{8}}``.
WILDCARD = re.compile(r"\{\s*(\w+)\s*(?:,(?:[^{}]|\{[^{}]*\})*)?\}")

DEPTH = 10  # of folders in those of logs and benchmarks

# Metadata of a sample store, and its points.
FRAME = re.compile(
    r"(?:^|/)(?:samples/[^/]+\.zarr/(?:(?:.+/)?zarr\.json|t/c/0(?:/0)*)|manifest/[^/]+/t/0\.json)$"
)


def complete_rules(workflow: Any, layout: Layout) -> None:
    """Give every rule with a script what it does not say itself.

    That is the environment, memory and time; a log, and a benchmark of what it makes, at ``record``; and the digest
    ``code`` of all that its script imports, so that the step is done again when any of that changes.

    Args:
        workflow: Snakemake's, with all its rules.
        layout: all paths.
    """
    for rule in workflow.rules:
        if not rule.script:
            continue
        rule.conda_env = rule.conda_env or ENVIRONMENT
        resources = type(rule.resources).from_mapping(RESOURCES)
        # In this order, for a default of the command line or of a profile is in the rule already.
        resources.update(type(rule.resources).from_mapping((rule.ruleinfo.resources or [(), {}])[1]))
        resources.update(workflow.resource_settings.overwrite_resources.get(rule.name, {}))
        rule.resources.update(resources)
        place, modifier = record(rule, layout.settings.results), workflow.modifier.path_modifier
        if not rule.log:
            rule.log_modifier = modifier
            rule.set_log(layout.path("logs", f"{place}.log"))
        if rule.output and not rule.benchmark:
            rule.benchmark_modifier = modifier
            rule.benchmark = layout.path("benchmarks", f"{place}.tsv")
        if "code" not in dict(rule.params.items()):
            rule.set_params(code=layout.code(rule.script))
    for name, blocks in layout.blocks.items():
        for block in blocks[1:]:
            _follow(workflow.get_rule(f"{name}{block.suffix}"), workflow.get_rule(name))
    for group in layout.solvable.groups[1:]:
        _follow(workflow.get_rule(f"estimate_geometry{group.suffix}"), workflow.get_rule("estimate_geometry"))


def _follow(rule: Any, other: Any) -> None:
    """What --set-resources and --set-threads say of ``other`` holds for ``rule``; they cannot say a function."""
    given = {name: value for name, value in other.resources.items() if value.raw is not None}
    rule.resources.update(type(other.resources)(given))


def record(rule: Any, results: str) -> str:
    """Where a rule's log and benchmark are, in the folders of these: where its results are, its name, its wildcards.

    Args:
        rule: Snakemake's.
        results: folder of everything that is produced.
    """
    if not rule.output:
        return rule.name
    path = bare(rule.output[0]).removeprefix(f"{results}/")
    folder = path.partition("/")[0]
    wildcards = [f"{{{name}}}" for name in WILDCARD.findall(path)]
    return "/".join([folder, rule.name, *dict.fromkeys(name for name in wildcards if name != folder)])


def bare(path: Any) -> str:
    """A rule's path, without the constraints of its wildcards."""
    return WILDCARD.sub(r"{\1}", str(path))


def once_a_file(producers: Callable[[Any, str], set[Any]]) -> Callable[[Any, str], set[Any]]:
    """Snakemake's search for the rules that make a file, done once for a file, not once for every job that needs it.

    The answers stay with the index of rules that is asked: Snakemake makes another when its rules change.
    """

    @wraps(producers)
    def remembered(index: Any, file: str) -> set[Any]:
        known = vars(index).setdefault("found_before", {})
        # Of the path alone: how a job reads the file is no matter of who makes it.
        if (path := str(file)) not in known:
            known[path] = producers(index, file)
        return known[path]

    return remembered


def is_frame(file: Any) -> bool:
    """Whether a file is metadata of a sample store, or its points.

    Made again it makes nothing due. It has the bytes that it had, unless settings or code changed, which jobs that make
    shards have among their own params; and where it has others no sidecar knows them, so that nothing reads the shards.
    """
    return FRAME.search(str(file)) is not None


def unframed(update: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Snakemake's search for jobs that are due, in which those that wait for a store's frame alone do not follow it.

    Snakemake itself has jobs follow an ancient input that is missing, and leaves those that follow no other unasked for
    reasons of their own.
    """

    @wraps(update)
    async def updated(dag: Any, *arguments: Any, **options: Any) -> None:
        depending = dag.depending
        dag.depending = defaultdict(dict)
        for job, others in depending.items():
            kept = {other: files for other, files in others.items() if not all(map(is_frame, files))}
            dag.depending[job] = kept
        try:
            await update(dag, *arguments, **options)
        finally:
            dag.depending = depending

    return updated


def made_by(rules: Iterable[Any], results: str, templates: Iterable[str] = ()) -> dict[str, list[str]]:
    """The arguments of ``store.audit.Made``: the paths of rules, for every study that there ever was.

    Args:
        rules: Snakemake's.
        results: folder of everything that is produced.
        templates: paths with wildcards of what rules of other settings may have made.
    """
    outputs = [path for rule in rules for path in rule.output]
    # At any depth: rules of studies that these settings do not have may name their logs in other ways.
    depths = ["/{part}" * depth for depth in range(1, DEPTH)]
    unread = [f"{results}/{folder}{depth}" for folder in ("logs", "benchmarks") for depth in depths]
    return {
        "files": sorted({bare(path) for path in outputs if not path.is_directory} | set(templates)),
        "folders": sorted({bare(path) for path in outputs if path.is_directory}),
        "unread": [*unread, f"{results}/README.md", f"{results}/report.html"],
    }


def by_target(layout: Layout) -> dict[str, list[str]]:
    """The paths that each target of the workflow makes."""
    return {
        "all": layout.targets,
        "table1": layout.solvable.targets,
        "table2": layout.path_targets,
        "generative_geodesics": layout.generative_targets,
        "paper": layout.paper.targets,
        "compare": layout.difference_targets,
        "history": layout.history_targets,
        "stability": layout.stability_targets,
        "zoom": layout.zoom_targets,
        "explore": layout.explorer_targets,
        "safety": layout.safety_targets,
        "morph": layout.morph_targets,
        "refine": layout.refine_targets,
    }
