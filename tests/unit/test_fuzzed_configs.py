"""Configurations that are drawn: what nobody permits is refused in a line, what the schema permits is accepted.

What is permitted is told by code of its own: ``fuzzing.permits`` reads the schema, ``HELD`` has the settings that are
held against others. ``make fuzz`` draws 2,000 broken ones, each time others; here a sample is drawn, always the same.
"""

import json
from copy import deepcopy
from math import prod

import pytest
import yaml
from fuzzing import BROKEN_TEXTS, CONTROL, JUNK, NAME, broken, drawn, entries, permits, permitted
from hypothesis import assume, given
from hypothesis import strategies as st

from hessgeo.pipeline import config_files
from hessgeo.pipeline.config_files import LONGEST_LINE, SettingsError, check_command_line, merge_config
from hessgeo.pipeline.schema import rules, schema_errors
from hessgeo.pipeline.settings import merged, read_configuration

# Names of entries that are there: in config.yaml, or in the tiny study.
NAMES = {"models": "tiny", "studies": "tiny", "solvable.systems": "ising-8"}
ENTRIES = list(entries(rules("config"), NAMES))


def alone(*values):
    return lambda value: value in values


def risen(value):
    return value[0] < value[1]


def between(low, high):
    return lambda value: low <= value <= high


def box(value):
    """Whether all nodes of a box are numbers of their own."""
    sides = [high - low > max(1e-30, 16e-9 * abs(low), 16e-9 * abs(high)) for low, high in value]
    return len(value) == 2 and all(sides)


def seeds(value):
    """Whether anchors are different seeds, not files, which are not there."""
    several = value if isinstance(value, list) else [value]
    return all(isinstance(one, int) for one in several) and len({*several}) == len(several)


# What the tiny study permits of settings that are held against others, files or programs: 16 x 16 points of an
# unconditional embedded model, in shards of 64. Of the lists, 1 and True are told apart by the schema.
HELD = {
    "studies.tiny.samples": alone(None),
    "studies.tiny.system.kind": alone("diffusion"),
    **{f"studies.tiny.system.{key}": alone(None)
       for key in ("images", "parameters", "config", "size", "latent", "output", "layout")},
    "studies.tiny.system.checkpoint": alone("tiny", "digits"),
    "studies.tiny.system.scheduler": alone("auto"),
    "studies.tiny.system.steps": lambda value: 1_000 % value < 20,  # trained times that whole steps leave out
    "studies.tiny.system.eta_rule": alone("ddim"),
    "studies.tiny.system.prompt": alone(""),
    "studies.tiny.system.negative_prompt": alone(""),
    "studies.tiny.system.guidance": alone(1),
    "studies.tiny.system.clip_skip": alone(None, 0),
    "studies.tiny.system.lora": alone([]),
    "studies.tiny.system.decode_batch_size": alone(),
    "studies.tiny.system.channels": alone(3),
    "studies.tiny.system.output_range": alone([-1, 1]),
    "studies.tiny.system.inputs": alone({}),
    "studies.tiny.slice.anchors": seeds,
    "studies.tiny.slice.triplets": lambda value: all(map(seeds, value)),
    "studies.tiny.slice.extent": box,
    "studies.tiny.slice.axes": alone(["latent", "latent"]),
    "studies.tiny.sampling.design": alone("grid"),
    "studies.tiny.sampling.grid": lambda value: len(value) == 2 and prod(value) % 64 == 0 and prod(value) <= 640_000,
    "studies.tiny.sampling.count": alone(None),
    "studies.tiny.sampling.shard": lambda value: 256 % value == 0,
    "studies.tiny.embedding.kind": alone("open_clip"),
    "studies.tiny.embedding.checkpoint": alone("tiny", "digits"),
    "studies.tiny.embedding.file": alone(None),
    "studies.tiny.embedding.model": alone(None),
    **{f"studies.tiny.embedding.input.{key}": alone(None) for key in ("size", "mean", "std", "layout", "channels")},
    "studies.tiny.embedding.output": alone(None),
    "studies.tiny.posterior.cells": lambda value: value < 256,
    "studies.tiny.posterior.parts": alone(1),
    "studies.tiny.posterior.neighbours": lambda value: value < 256,
    "studies.tiny.posterior.coarse": lambda value: value is None or (len(value) == 2 and max(value) <= 16),
    "studies.tiny.free_energy.splines": lambda value: len(value) == 2,
    "studies.tiny.phases.smoothing": between(0, 16),
    "studies.tiny.geodesics.smoothing": between(0, 16),
    "studies.tiny.geodesics.methods": lambda value: {"linear", "fisher"} <= set(value),
    "studies.tiny.geodesics.perceptual.checkpoint": alone(None),
    "studies.tiny.geodesics.perceptual.linear": alone(None),
    "studies.tiny.geodesics.path_length_clip": lambda value: value is None or risen(value),
    "studies.tiny.history.steps": lambda value: value == "all" or max(value) <= 8,
    "studies.tiny.refine.by": alone("boundary"),
    "run": lambda value: set(value) <= {"tiny", "digits"},
    "checkpoint": alone(None),
    "clip": alone(None),
    "generative.model": alone("tiny", "digits"),
    "generative.clustering.neighbours": lambda value: value < 600,
    "generative.clustering.points": lambda value: value > 20,
    "generative.digits.neighbours": lambda value: 2 * value < 600,
    "comparisons": alone({}),
    **{f"solvable.{table}.{key}": alone([])
       for table in ("table1", "fisher", "convergence") for key in ("systems", "estimators")},
    "solvable.figures.estimator": alone(),
    "solvable.figures.tasep_estimator": alone(),
    "solvable.convergence.samples": lambda value: all(count <= 100_000 for count in value),
    "solvable.estimators.score-classifier.debias": alone("none"),
    "solvable.systems.ising-8.estimators.score-classifier.debias": alone("none"),
    "solvable.systems.ising-8.parameters": alone("natural", "temperature"),
    "solvable.systems.ising-8.extent": lambda value: box(value) and max(map(abs, [*value[0], *value[1]])) <= 20,
    "solvable.convergence.seeds": between(1, 3),
    "solvable.systems.ising-8.kind": lambda value: value != "tasep",
    "solvable.systems.ising-8.size": between(3, 18),
    "solvable.systems.ising-8.truth_samples": alone(0),
    "solvable.systems.ising-8.samples": lambda value: value % 100_000 == 0 and value >= 100_000,
    "solvable.systems.ising-8.shard": lambda value: 100_000 % value == 0 and value >= 10,
}  # fmt: skip
# Where results go has tests of its own, and a compiler may be there or not.
OTHERS = {"results", "studies.tiny.system.compile"}
# Lines of what is held may name the other of two settings.
PARTNERS = {
    "studies.tiny.system.kind": ("studies.tiny.system", "defaults.system"),
    "studies.tiny.sampling.grid": (
        "studies.tiny.sampling.shard",
        "defaults.slice.extent",
        "defaults.slice.axes",
        "studies.tiny.free_energy.splines",
    ),
    "studies.tiny.embedding.kind": (
        "studies.tiny.embedding.checkpoint",
        "studies.tiny.embedding.file",
        "defaults.embedding.file",
    ),
    "studies.tiny.embedding.checkpoint": ("clip",),
    "studies.tiny.sampling.design": ("studies.tiny.sampling.count", "defaults.sampling.count"),
    "studies.tiny.system.checkpoint": ("checkpoint", "studies.tiny.embedding.checkpoint"),
    "solvable.systems.ising-8.kind": ("solvable.systems.ising-8",),
    "solvable.systems.ising-8.samples": ("solvable.systems.ising-8.shard", "solvable.convergence.samples"),
    "generative.clustering.points": ("generative.clustering.neighbours",),
}


@pytest.fixture(scope="module")
def read(repository, tmp_path_factory):
    """Read the tiny study with a change, in an empty folder, as the Snakefile does."""
    files = [repository / "config.yaml", repository / "workflow" / "studies" / "tiny.yaml"]
    known, read_file = (
        {file: config_files.read_config_file(file) for file in files},
        config_files.read_config_file,
    )
    folder = tmp_path_factory.mktemp("there")
    change = tmp_path_factory.mktemp("change") / "change.yaml"

    def read(content):
        from snakemake.common.configfile import load_configfile

        change.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(
                config_files,
                "read_config_file",
                lambda file: deepcopy(known[file]) if file in known else read_file(file),
            )
            own = merge_config([*files, change], {})
            config = merged(merge_config(files, {}), load_configfile(change))
            settings = read_configuration(config, files=[*files, change], entries={})
        assert list(folder.iterdir()) == [], "something was created"
        return own, settings

    read.change = change
    return read


def lines_of(read, content):
    """The lines that a configuration is refused with, each of them well formed."""
    with pytest.raises(SettingsError) as caught:
        read(content)
    lines = str(caught.value).split("\n")
    for line in lines:
        assert line.startswith("hessgeo: ")
        assert line.isprintable()
        assert len(line) < LONGEST_LINE + 200
        assert line.partition("; allowed: ")[2] or line.partition(", must ")[2], line
    return [line.removeprefix("hessgeo: ") for line in lines]


def text_of(path, value):
    for key in reversed(path):
        value = {key: value}
    return yaml.safe_dump(value, allow_unicode=True)


def in_yaml(value):
    """How a short value without anything strange stands in a line; '' of others."""
    if isinstance(value, str):
        return repr(value) if value.isprintable() and len(value) < 60 else ""
    return json.dumps(value) if value is None or isinstance(value, bool | int) else ""


def can_be_read(value):
    """Whether a file can hold a value, which is then for the schema to refuse."""
    if isinstance(value, list):
        return all(map(can_be_read, value))
    if isinstance(value, dict):
        return all(can_be_read(part) for entry in value.items() for part in entry)
    return not isinstance(value, int) or isinstance(value, bool) or len(str(value)) <= 40


@drawn(40, 1_300)
@given(data=st.data())
def test_what_the_schema_does_not_permit_is_refused_in_a_line(read, data):
    path, schema = data.draw(st.sampled_from(ENTRIES))
    value = data.draw(broken(schema))
    assume(can_be_read(value))
    if path == ("solvable", "systems", "ising-8"):
        path = (*path[:-1], "new")  # which nothing is merged over: what it must have it lacks
    lines, key = lines_of(read, text_of(path, value)), ".".join(path)
    assert all(line.startswith((f"{key}: ", f"{key}.", f"{key}[")) for line in lines)
    if not isinstance(value, list | dict):
        assert len(lines) == 1
        assert f"{key}: {in_yaml(value)}" in lines[0]
        assert "is not allowed; allowed: " in lines[0]


@drawn(15, 200)
@given(data=st.data())
def test_a_name_that_nobody_has_is_refused_with_those_there_are(read, data):
    sections = [(path, schema) for path, schema in ENTRIES if schema.get("properties")]
    path, schema = data.draw(st.sampled_from(sections))
    known = schema["properties"]
    name = data.draw(st.one_of(NAME, CONTROL, st.sampled_from(sorted(known)).map(lambda name: f"{name}x")))
    assume(name not in known)
    (line,) = lines_of(read, text_of((*path, name), data.draw(JUNK.filter(can_be_read))))
    assert line.startswith(".".join(path))
    assert "unknown key; nearest: " in line
    assert line.endswith(f"; allowed: {', '.join(known)}") or len(line) > LONGEST_LINE - 20


@drawn(15, 200)
@given(drawn_text=BROKEN_TEXTS)
def test_a_text_that_is_no_configuration_is_one_line_with_its_place(read, drawn_text):
    text, words = drawn_text
    (line,) = lines_of(read, text)
    assert words in line
    assert line.startswith((f"{read.change}, line ", f"{read.change}: the file ", "studies.tiny."))


@drawn(20, 300)
@given(data=st.data())
def test_settings_that_contradict_each_other_are_refused(read, data):
    key = data.draw(st.sampled_from(sorted(HELD)))
    schema = next(schema for path, schema in ENTRIES if ".".join(path) == key)
    value = data.draw(permitted(schema).filter(lambda value: not HELD[key](value)))
    lines = lines_of(read, text_of(key.split("."), value))
    keys = (key, *PARTNERS.get(key, ()))
    assert any(line.startswith(tuple(f"{one}{end}" for one in keys for end in ".:[")) for line in lines), (
        lines
    )


def setting(settings, path):
    """A setting of a study, a model or a section, as read."""
    found = {
        name: getattr(settings, name)
        for name in ("models", "studies", "solvable", "generative", "differences")
    }
    for key in path:
        found = found[key]
    return found


FREE = [
    (path, schema)
    for path, schema in ENTRIES
    if ".".join(path) not in OTHERS and schema.get("type") != "object" and path[0] != "defaults"
]


@drawn(40, 1_000)
@given(data=st.data())
def test_what_is_permitted_is_accepted_and_means_what_it_says(read, data):
    path, schema = data.draw(st.sampled_from(FREE))
    key = ".".join(path)
    value = data.draw(permitted(schema).filter(HELD.get(key, lambda value: True)))
    assume(key not in HELD or HELD[key](value))
    _, settings = read(text_of(path, value))
    if path[0] not in ("run", "checkpoint", "clip", "storage"):
        got = setting(settings, path)
        assert got == value
        assert type(got) is type(value)


@drawn(30, 500)
@given(data=st.data())
def test_the_schema_permits_what_its_words_say(data):
    path, schema = data.draw(st.sampled_from(ENTRIES))
    value = data.draw(st.one_of(permitted(schema), broken(schema)))
    config = value
    for key in reversed(path):
        config = {key: config}
    # Required neighbours are there.
    ising = {"kind": "ising", "size": 8, "extent": [[0, 1], [0, 1]]}
    config = (
        merged({"solvable": {"systems": {"ising-8": ising}}}, config) if path[0] == "solvable" else config
    )
    lacking = path in (("solvable",), ("solvable", "systems"))
    if not lacking and not (len(path) == 3 and path[:2] == ("solvable", "systems")):
        assert bool(schema_errors(config)) != permits(schema, value)


@drawn(15, 400)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 2_000), st.integers(0, 40), st.text(max_size=6)), min_size=1, max_size=4
    )
)
def test_a_text_with_random_changes_is_refused_in_lines_or_read_as_snakemake_reads_it(read, repository, cuts):
    text = (repository / "workflow" / "studies" / "tiny.yaml").read_text(encoding="utf-8")
    for start, length, more in cuts:
        start %= len(text) + 1
        text = text[:start] + more + text[start + length :]
    try:
        own, settings = read(text)
    except SettingsError:
        lines_of(read, text)
    else:
        assert settings.results == own["results"]


@drawn(15, 300)
@given(name=st.one_of(NAME, st.text(max_size=8)), value=st.one_of(JUNK.map(str), st.text(max_size=30)))
def test_an_entry_of_the_command_line_is_one_line_or_read_by_snakemake(name, value):
    from snakemake.cli import parse_config

    entry = f"{name}={value}"
    try:
        check_command_line([f"--config={entry}"])
    except SystemExit as error:
        (line,) = str(error).split("\n")
        assert line.startswith("hessgeo: --config ")
        assert line.isprintable()
        assert "allowed" in line
    else:
        parse_config([entry])
