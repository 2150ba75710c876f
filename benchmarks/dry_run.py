"""Processor time of a plan: a dry run of a study with many shards, and what a job more takes.

The study is the tiny one with more points. Each case is a ``snakemake --dry-run`` of its own in an empty folder, whose
processor time is that of the process and all its children; beside it one of as many jobs by three plain rules of a
Snakefile without settings, layout or package: what Snakemake takes by itself. A line through the times says what
10,000 jobs take. Run from the repository::

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
# As many jobs as a study has, each with a file or two.
PLAIN = """
rule all:
    input: expand("embedding/{{k}}", k=range({pairs}))

rule generate_samples:
    output: "image/{{k}}"
    shell: "touch {{output}}"

rule embed_samples:
    input: "image/{{k}}"
    output: "embedding/{{k}}"
    shell: "touch {{output}}"
"""


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


def measure(shards: int, each: int | str) -> tuple[int, Row]:
    """How many jobs are planned, and the processor time that takes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "change.yaml").write_text(settings(shards, each))
        seconds, plan = dry_run(
            folder, "--snakefile", ROOT / "Snakefile", "--configfile", folder / "change.yaml"
        )
        jobs = planned(plan)
        (folder / "Snakefile").write_text(PLAIN.format(pairs=(jobs - 1) // 2))
        alone, plan = dry_run(folder, "--workflow-profile", "none")
    assert planned(plan) >= jobs - 1
    how = "as many a job as by default" if each == "auto" else f"{each} a job"
    print(
        f"{shards} shards, {how}: {seconds:.1f} s of processor time, {jobs} jobs; plain: {alone:.1f} s",
        flush=True,
    )
    name = f"dry run of {shards} shards, {how}: processor time"
    return jobs, Row(name, seconds, "s", "as many plain jobs", alone)


def planned(plan: str) -> int:
    """Number of jobs that a dry run says there are."""
    return int(re.search(r"^total\s+(\d+)", plan, re.MULTILINE)[1])


def growth(jobs: list[int], rows: list[Row]) -> list[Row]:
    """What a job more takes, of a line through the times, and by it 10,000 of them; the start would hide a power."""
    each, start = np.polyfit(jobs, [row.value for row in rows], 1)
    print(f"{start:.1f} s, and {1e3 * each:.1f} ms a job")
    return [
        Row("dry run, one shard a job: processor time a job", 1e3 * float(each), "ms"),
        Row(f"dry run of {JOBS} jobs, extrapolated: processor time", float(start + each * JOBS), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS)
    parser.add_argument("--each", nargs="+", default=["auto", "1"], help="shards a job: auto, or a number")
    options = parser.parse_args()
    shards = tuple(sorted(options.shards))
    if "auto" in options.each:
        record([measure(shards[-1], "auto")[1]])
    for each in (int(each) for each in options.each if each != "auto"):
        jobs, rows = zip(*(measure(count, each) for count in shards), strict=True)
        record([*rows, *(growth(list(jobs), list(rows)) if each == 1 and len(rows) > 1 else [])])


if __name__ == "__main__":
    main()
