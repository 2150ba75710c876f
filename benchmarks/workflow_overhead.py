"""What the workflow costs on top of the work: time in which no job runs, and jobs' own start-up.

Runs a study from nothing in a temporary folder with the ``snakemake`` command, and splits the wall time of that
command in three, from the benchmark and the log that each job leaves:

- *idle*: no job is running. Snakemake reads the workflow, plans, schedules, records. A job's interval ends when
  its benchmark is written and is as long as the benchmark says; idle is the wall time less the union of all
  intervals. On one core that is all that Snakemake costs. On several it is a lower bound: a core may wait for
  Snakemake while another works, so judge with ``--cores 1``.
- *start-up*: time inside jobs before and after their work, mostly Python importing torch.
- *work*: what the log of each job says after ``done in``.

The share that is to stay below 10 % is idle over wall. It hangs on how long jobs are, and those of the tiny study take
seconds; so the idle time a job stands beside it, and the share that it has where jobs take a minute. Run from the
repository::

    python benchmarks/workflow_overhead.py                       # the tiny study, two minutes
    python benchmarks/workflow_overhead.py --study digits        # the default study
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from record import Row, record

ROOT = Path(__file__).parent.parent
MINUTE = 60.0  # s


def run_study(study: str, cores: int, directory: Path) -> float:
    """Build a study in an empty folder; returns the wall time of the command in seconds."""
    more = [] if study == "digits" else ["--configfile", str(ROOT / "workflow" / "studies" / f"{study}.yaml")]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *more]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--directory", str(directory), "--cores", str(cores)], check=True, capture_output=True
    )
    return time.perf_counter() - start


def job_times(results: Path) -> pd.DataFrame:
    """End, length and length of the work of every job, in seconds."""
    rows = []
    for benchmark in sorted((results / "benchmarks").rglob("*.tsv")):
        name = benchmark.relative_to(results / "benchmarks").with_suffix("")
        log = (results / "logs" / name).with_suffix(".log").read_text(encoding="utf-8")
        work = float(re.search(r"done in ([\d.]+) s", log)[1])
        seconds = float(pd.read_csv(benchmark, sep="\t")["s"].iloc[0])
        rows.append({"job": str(name), "end": benchmark.stat().st_mtime, "seconds": seconds, "work": work})
    return pd.DataFrame(rows)


def union_seconds(jobs: pd.DataFrame) -> float:
    """Time in which at least one job runs."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(zip(jobs["end"] - jobs["seconds"], jobs["end"], strict=True)):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="tiny", help="digits, or a file of workflow/studies by its stem")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wall = run_study(options.study, options.cores, Path(folder))
        jobs = job_times(Path(folder, "results"))
    busy = union_seconds(jobs)
    print(f"{options.study} on {options.cores} cores: {len(jobs)} jobs, wall {wall:.1f} s")
    print(f"idle     {wall - busy:8.1f} s  {100 * (wall - busy) / wall:5.1f} % of wall")
    print(f"start-up {(jobs['seconds'] - jobs['work']).sum():8.1f} s, summed over jobs")
    print(f"work     {jobs['work'].sum():8.1f} s, summed over jobs")
    each = (wall - busy) / len(jobs)
    print(f"idle a job {each:.2f} s, {100 * each / (each + MINUTE):.1f} % where jobs take a minute")
    about = f"workflow overhead, {options.study} on {options.cores} cores"
    record(
        [
            Row(f"{about}: idle share of wall", (wall - busy) / wall),
            Row(f"{about}: wall", wall, "s"),
            Row(f"{about}: idle time a job", each, "s"),
            Row(f"{about}: idle share where jobs take a minute", each / (each + MINUTE)),
        ]
    )


if __name__ == "__main__":
    main()
