"""Parts of one job: what is there, and would be made the same again, stays; all else is made."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hessgeo.pipeline.code import Code
from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.parts import Part, make_parts
from hessgeo.pipeline.settings import merged, read_settings
from hessgeo.pipeline.solvable_parts import parts_of


@pytest.fixture
def make(tmp_path):
    """Make the parts ``a`` and ``b``, each of two files, of whatever they depend on; the names of those made."""

    def make(**depends):
        def part(name):
            files = [tmp_path / f"{name}.{kind}" for kind in ("net", "json")]

            def write():
                for file in files:
                    file.write_text(f"{file.name} of {depends[name]}")

            return Part(name, tuple(map(str, files)), depends[name], write)

        return make_parts([part(name) for name in depends], tmp_path / "parts.json")

    return make


def test_what_would_be_made_the_same_stays(make, tmp_path):
    assert make(a="1", b="1") == ["a", "b"]
    assert make(a="1", b="1") == []
    assert make(a="1", b="2") == ["b"]
    assert (tmp_path / "b.net").read_text() == "b.net of 2"
    # Of a part that is no longer asked for nothing is forgotten.
    assert make(b="2") == []
    assert make(a="1", b="2", c="1") == ["c"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("other")])
def test_what_was_lost_or_damaged_is_made_again_alone(make, tmp_path, damage):
    make(a="1", b="1")
    damage(tmp_path / "a.json")
    assert make(a="1", b="1") == ["a"]
    assert (tmp_path / "a.json").read_text() == "a.json of 1"


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text('{"a": 1}')])
def test_without_a_record_that_holds_all_is_made_again(make, tmp_path, damage):
    make(a="1", b="1")
    damage(tmp_path / "parts.json")
    assert make(a="1", b="1") == ["a", "b"]


def test_a_job_that_was_killed_starts_where_it_ended(make, tmp_path):
    def killed():
        raise KeyboardInterrupt

    first = tmp_path / "a.net"
    parts = [Part("a", (str(first),), "1", lambda: first.write_text("a")), Part("b", ("b",), "1", killed)]
    with pytest.raises(KeyboardInterrupt):
        make_parts(parts, tmp_path / "parts.json")
    done = []
    again = [
        Part("a", (str(first),), "1", lambda: done.append("a")),
        Part("b", (str(tmp_path / "b"),), "1", lambda: (tmp_path / "b").write_text("b")),
    ]
    assert make_parts(again, tmp_path / "parts.json") == ["b"]
    assert done == []


def test_what_stays_is_no_older_than_what_it_was_made_of(make, tmp_path):
    make(a="1")
    source = tmp_path / "source"
    source.touch()
    assert make(a="1") == []
    assert (tmp_path / "a.net").stat().st_mtime_ns >= source.stat().st_mtime_ns


@pytest.fixture
def layout(repository):
    def read(**change):
        files = [repository / "config.yaml", repository / "workflow" / "studies" / "table1-quick.yaml"]
        return Layout(
            read_settings(merged(merge_config(files, {}), {"solvable": change})), repository
        ).solvable

    return read


def test_groups_make_all_that_is_scored_and_shown_and_no_more(layout):
    found = layout()
    made = [
        path.format(system=system, seed=seed, samples=samples)
        for group in found.groups
        for system, seed, samples in group.members
        for path in group.outputs
    ]
    assert len(set(made)) == len(made)
    read = {path for path in found.targets if "/networks/" in path or "/estimates/" in path}
    assert set(made) - read == {path for path in made if path.endswith("/parts.json")}
    assert read <= set(made)


def depends(found, code, **wildcards):
    """What each part of the quick Ising study in natural parameters depends on, by its name."""
    place = SimpleNamespace(system="ising-natural", seed="1", samples="3000", **wildcards)
    (group,) = [one for one in found.groups if ("ising-natural", 1, 3000) in one.members]
    about = {"seed": 1, "code": group.code(code)(place)}
    makers = dict.fromkeys(("networks", "estimators"), print)
    return {part.name: part.depends for part in parts_of(group.parts(place), makers, about)}


def changed(first, second):
    return {name for name in first if first[name] != second[name]}


def test_a_setting_concerns_its_part_and_those_that_read_it(layout, repository):
    code = Code(repository)
    before = depends(layout(), code)
    alone = depends(layout(estimators={"score-classifier": {"splines": [9, 9]}}), code)
    assert changed(before, alone) == {"estimate score-classifier"}
    network = depends(layout(networks={"exponential": {"steps": 90}}), code)
    assert changed(before, network) == {
        "network exponential",
        "estimate exponential",
        "estimate exponential-posterior",
    }


def test_code_concerns_the_parts_that_run_it(layout, repository, monkeypatch):
    before = depends(layout(), Code(repository))
    read = Code._read

    def edited(self, file):
        module = read(self, file)
        return module._replace(code="other") if file.name == "pca_vae.py" else module

    monkeypatch.setattr(Code, "_read", edited)
    assert changed(before, depends(layout(), Code(repository))) == {"network vae", "estimate pca-vae"}
