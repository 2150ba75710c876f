"""Configuration files mean what they say, or one line says where not."""

import json

import pytest
import yaml

from hessgeo.pipeline.config_files import (
    DEEPEST,
    LARGEST,
    SettingsError,
    check_command_line,
    confirm_config,
    merge_config,
    one_line,
    read_config_file,
)

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(k + 1)}: &{chr(k + 1)} [*{chr(k)}, *{chr(k)}]\n" for k in range(ord("a"), ord("t"))
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, DEEPEST + 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "line 2, column 1: did not find expected ',' or ']'"),
        ("a:\n  b: c: d\n", "line 2, column 7: mapping values are not allowed in this context"),
        ("a: 1\n\tb: 2", "line 2, column 1: found a tab character"),
        ("a: 1\n---\nb: 2", "line 2, column 1: expected a single document in the stream but found another"),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("%YAML 3.0\n---\na: 1", "line 1, column 1: found incompatible YAML document"),
        ("a: \x07", "line 1, column 4: control characters are not allowed"),
        ("studies: &s {tiny: *s}", "line 1, column 10: it refers to itself"),
        ("a: &a\n  <<: *a\n", "it refers to itself"),
        ("<<: 1", "line 1, column 5: expected a mapping or list of mappings for merging"),
        ("[" * (DEEPEST + 1), f"line 1, column {DEEPEST + 1}: it nests more than {DEEPEST} deep"),
        ("[" * 100_000, f"line 1, column {DEEPEST + 1}: it nests more than {DEEPEST} deep"),
        ('{"a":' * 100_000, f"it nests more than {DEEPEST} deep"),
        (LAUGHS, "it refers to too much"),
        (CHAIN, "it refers to too much"),
        ("run: [x]\nrun: [x]\n", "line 2, column 1: the key 'run' stands twice, first in line 1"),
        ("a: {b: 1, c: 2,\n    b: 3}", "line 2, column 5: the key 'b' stands twice, first in line 1"),
        ('{"a": 1,\n "a": 2}', "line 2, column 2: the key 'a' stands twice, first in line 1"),
        ("a: {null: 1}", "line 1, column 5: the key null is no text"),
        ("1: 2", "line 1, column 1: the key 1 is no text"),
        ("on: 2", "line 1, column 1: the key on is no text"),
        ("? [a]\n: 1", "line 1, column 3: a list or mapping is no key"),
        ("a: 010", "line 1, column 4: 010 is another number in YAML 1.1"),
        ("a: -0_7", "line 1, column 4: -0_7 is another number in YAML 1.1"),
        ("a: [1, 1:30]", "line 1, column 8: 1:30 is another number in YAML 1.1"),
        ("a: 1:30.5", "1:30.5 is another number in YAML 1.1"),
        ("a: " + "9" * 5_000, "line 1, column 4: a whole number of 5000 digits"),
        ("a: 2020-01-01", "line 1, column 4: 2020-01-01 is a date in YAML"),
        ("a: !!python/tuple [1]", "line 1, column 4: the tag tag:yaml.org,2002:python/tuple is not allowed"),
        ("a: !mine 1", "line 1, column 4: the tag !mine is not allowed"),
        ("a: !!set {b}", "the tag tag:yaml.org,2002:set is not allowed"),
        ("a: !!int one", "the tag tag:yaml.org,2002:int is not allowed"),
        ("a: !!bool maybe", "the tag tag:yaml.org,2002:bool is not allowed"),
        ("a: =", "the tag tag:yaml.org,2002:value is not allowed"),
        ("__use_yte__: true\na: ?1 + 1", "__use_yte__: templates are not read"),
        ("hello", "the file holds a str; allowed: a mapping"),
        ("- a", "the file holds a list; allowed: a mapping"),
        ("[1]", "the file holds a list; allowed: a mapping"),
        ("12", "the file holds a int; allowed: a mapping"),
        ("", "the file is empty"),
        ("# a comment\n", "the file is empty"),
        ("null", "the file is empty"),
    ],
)
def test_what_is_no_mapping_of_settings_is_refused_with_its_place(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_config_file(tmp_path / "x.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"hessgeo: {tmp_path / 'x.yaml'}")
    assert words in line
    assert "; allowed: " in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: \xff", "x.yaml, line 2, column 4: the byte 0xff is no UTF-8"),
        ("a: 1".encode("utf-16"), "x.yaml, line 1, column 1: the byte 0xff is no UTF-8"),
        (b"a: 1\n" * (LARGEST // 5 + 1), "x.yaml has more than 1,000,000 bytes"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path, content, words):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        read_config_file(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: 0x1F\nb: 1_000\nc: 0\nd: 0.5\ne: -3", {"a": 31, "b": 1000, "c": 0, "d": 0.5, "e": -3}),
        ("a: !!str 010\nb: '1:30'\nc: yes\nd: ~", {"a": "010", "b": "1:30", "c": True, "d": None}),
        ("base: &b {x: [1]}\na: {<<: *b, y: 2}", {"base": {"x": [1]}, "a": {"x": [1], "y": 2}}),
        ("\ufeffa: ü", {"a": "ü"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ('{"a":\t1e-3, "b": "\\ud83d\\ude00"}', {"a": 0.001, "b": "\U0001f600"}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
    ],
)
def test_what_is_plain_is_read_as_snakemake_reads_it(tmp_path, text, content):
    from snakemake.common.configfile import load_configfile

    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_config_file(path) == content == load_configfile(path)


def test_the_shipped_files_are_read_as_plain_yaml(repository):
    files = [repository / "config.yaml", *(repository / "workflow" / "studies").glob("*.yaml")]
    assert len(files) > 8
    for file in files:
        assert read_config_file(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_the_command_line_is_read_before_snakemake_reads_it(tmp_path):
    (good := tmp_path / "good.yaml").write_text("run: [x]\n")
    (bad := tmp_path / "bad.yaml").write_text("run: [x\n")
    check_command_line(
        ["-n", "all", "--configfile", str(good), "--config", "checkpoint=x.safetensors", "run=[a]"]
    )
    check_command_line(["--config", "results=a: b [c"])
    for arguments, words in (
        (["--configfile", str(good), str(bad)], f"{bad}, line 2"),
        (["--configfiles", str(tmp_path / "none.yaml")], "none.yaml is missing"),
        (["--config", "studies=&s {tiny: *s}"], "--config studies: line 1, column 1: it refers to itself"),
        (["--config", "run={a: 1, a: 2}"], "--config run: line 1, column 8: the key 'a' stands twice"),
        (["--config", "results"], "--config 'results' is not allowed; allowed: NAME=VALUE"),
        (["--config", "1=2"], "--config '1=2' is not allowed; allowed: NAME=VALUE"),
        (
            ["--config", "run=[a]", "-C", "results=x"],
            "--config stands 2 times, of which Snakemake takes the last",
        ),
        (["--configfile", str(good), "--configfile=x"], "--configfile stands 2 times"),
        (["--config", "run=[a]", "run=[b]"], "--config 'run' stands 2 times; allowed: once"),
        (["--config", "results=r\udcff"], "--config results: 'r\\udcff' is no text in UTF-8"),
    ):
        with pytest.raises(SystemExit) as caught:
            check_command_line(arguments)
        (line,) = str(caught.value.code).splitlines()
        assert line.startswith("hessgeo: ")
        assert words in line


def test_every_profile_reads_the_command_line(repository):
    profiles = sorted((repository / "workflow" / "profiles").glob("*/config.yaml"))
    assert len(profiles) >= 2
    for profile in profiles:
        content = yaml.safe_load(profile.read_text(encoding="utf-8"))
        assert content["__use_yte__"] is True
        assert any("check_command_line(sys.argv[1:])" in line for line in content["__definitions__"])


def test_what_snakemake_merges_is_compared_with_the_files(tmp_path):
    (tmp_path / "a.yaml").write_text("a: {b: 1, c: [1, 2]}\nd: 1\n")
    (tmp_path / "b.yaml").write_text("a: {c: [3]}\n")
    own = merge_config([tmp_path / "a.yaml", tmp_path / "b.yaml"], {"d": {"e": 2}})
    assert own == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    confirm_config(json.loads(json.dumps(own)), own)
    for other in ({**own, "d": {"e": True}}, {**own, "d": {"e": 2.0}}, {**own, "x": 1}, {"a": own["a"]}):
        with pytest.raises(SettingsError, match="Snakemake reads another value"):
            confirm_config(other, own)


def test_a_message_is_one_line_whatever_it_names():
    assert one_line("a\nb\r\x1b[31m\u2028\ud800é") == "a\\nb\\r\\x1b[31m\\u2028\\ud800é"
    assert len(one_line("x" * 10**6)) < 2_100
