"""Processor time of a plan: a dry run of a study with many shards, ours beside a bare Snakefile of the same jobs.

The study is the tiny one with more points. Each case is a ``snakemake --dry-run`` of its own in an empty folder, whose
processor time is that of the process and all its children. The peer is a Snakefile written from our plan: the same
rules, jobs, inputs and outputs, as plain text, without params, scripts, resources, logs, settings to be read; what it
takes is Snakemake's own. The growth with the number of jobs is fitted, and says what 10,000 jobs take. Run from the
repository::

    python benchmarks/dry_run.py                # eight dry runs, two minutes of a core
    python benchmarks/dry_run.py --shards 500   # a look
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import yaml
from record import Row, record

ROOT = Path(__file__).parent.parent
TINY = ROOT / "workflow" / "studies" / "tiny.yaml"
SHARD = 64
SHARDS = (500, 1000, 2000)
JOBS = 10_000  # of which the growth says what they take


def settings(shards: int, each: int | str) -> str:
    """The tiny study with so many shards, ``each`` of them a job."""
    study = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    grid = [64 * shards // 40, 40]
    study["studies"]["tiny"]["sampling"] = {"grid": grid, "shard": SHARD, "shards_per_job": each}
    study["studies"]["tiny"].pop("geodesics")
    return yaml.safe_dump(study)


def dry_run(folder: Path, *arguments: str | Path) -> tuple[float, str]:
    """Processor seconds of a dry run, and what it prints."""
    before = getrusage(RUSAGE_CHILDREN)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        folder,
        "--cores",
        "1",
        "--dry-run",
        *arguments,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def jobs_of(plan: str) -> list[dict[str, list[str] | str]]:
    """Rule, inputs and outputs of every job that a dry run prints."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", plan)[1:]:
        name = re.match(r"(?:local)?rule (\w+):", block)[1]
        files = dict(re.findall(r"^ {4}(input|output): (.*)$", block, re.MULTILINE))
        jobs.append({"rule": name, **{kind: files.get(kind, "").split(", ") for kind in ("input", "output")}})
    return jobs


def bare(jobs: list[dict]) -> str:
    """A Snakefile that plans those jobs, and nothing else."""
    rules = {}
    for job in jobs:
        rules[job["rule"]] = job  # the last one, whose shard has a number like no other
    text = []
    for name, job in sorted(rules.items(), key=lambda rule: rule[0] != "all"):
        shard = re.search(r"/(\d+)\.json", " ".join(job["output"]))
        many = sum(other["rule"] == name for other in jobs) > 1
        lists = []
        for kind in ("input", "output"):
            paths = [path for path in job[kind] if path]
            if many:
                paths = [
                    path.replace(f"/c/{shard[1]}/", "/c/{shard}/").replace(
                        f"/{shard[1]}.json", "/{shard}.json"
                    )
                    for path in paths
                ]
            lists += [f"    {kind}: {paths!r}"] if paths else []
        text += [f"rule {name}:", *lists, *([] if name == "all" else ["    shell: 'true'"]), ""]
    return "\n".join(text)


def measure(shards: int, each: int | str) -> Row:
    """Our processor time and, of the same jobs, the peer's."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "change.yaml").write_text(settings(shards, each))
        seconds, plan = dry_run(
            folder, "--snakefile", ROOT / "Snakefile", "--configfile", folder / "change.yaml"
        )
        jobs = jobs_of(plan)
        (folder / "bare.smk").write_text(bare(jobs))
        theirs, planned = dry_run(folder, "--snakefile", folder / "bare.smk")
    assert len(jobs_of(planned)) == len(jobs)
    how = "as many a job as by default" if each == "auto" else f"{each} a job"
    name = f"dry run of {shards} shards, {how}: processor time"
    print(f"{name} {seconds:.1f} s of {len(jobs)} jobs; a bare Snakefile {theirs:.1f} s", flush=True)
    return Row(name, seconds, "s", "a bare Snakefile", theirs)


def growth(rows: list[Row], shards: tuple[int, ...]) -> list[Row]:
    """The exponent of the time with the number of jobs, and what 10,000 of them take."""
    jobs = 2 * np.array(shards, dtype=float)
    slope, offset = np.polyfit(np.log(jobs), np.log([row.value for row in rows]), 1)
    print(f"grows as jobs to the power {slope:.2f}")
    extrapolated = float(np.exp(offset + slope * np.log(JOBS)))
    return [
        Row("dry run, one shard a job: exponent of its growth with jobs", float(slope)),
        Row(f"dry run of {JOBS} jobs, extrapolated: processor time", extrapolated, "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS)
    parser.add_argument("--each", nargs="+", default=["auto", "1"], help="shards a job: auto, or a number")
    options = parser.parse_args()
    shards = tuple(sorted(options.shards))
    if "auto" in options.each:
        record([measure(shards[-1], "auto")])
    for each in (int(each) for each in options.each if each != "auto"):
        rows = [measure(count, each) for count in shards]
        record([*rows, *(growth(rows, shards) if each == 1 and len(rows) > 1 else [])])


if __name__ == "__main__":
    main()
