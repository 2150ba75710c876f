"""How many files of a study that SLURM's jobs made are those of a local run, to the byte.

The tiny study is built twice from nothing: by a local run, and by jobs through one of the profiles on a cluster of one
node that is started here, by root, for as long as it takes (twenty minutes on two cores)::

    python benchmarks/slurm.py                       # workflow/profiles/slurm
    python benchmarks/slurm.py --profile generic     # sbatch as any command that takes a script
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from record import Row, record

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from damages import digests  # noqa: E402 - in tests
from running import Workflow  # noqa: E402
from slurm_cluster import SOON, cluster, missing  # noqa: E402


def built(directory, *arguments):
    """Build the study in an empty folder; returns digests of its files, and the seconds it took."""
    directory.mkdir()
    workflow = Workflow(ROOT, directory)
    start = time.perf_counter()
    done = workflow.run(*arguments, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr[-5000:])
    return digests(directory), time.perf_counter() - start


def compared(folder, profile, amounts):
    """Rows of the files that are the same, and of the jobs."""
    local, _ = built(folder / "local")
    with cluster(folder / "cluster", **amounts) as running:
        found, seconds = built(
            folder / profile, "--workflow-profile", ROOT / "workflow" / "profiles" / profile, *SOON[profile]
        )
        jobs = len(running.numbers())
    different = sorted(name for name in {*local, *found} if local.get(name) != found.get(name))
    print(f"{jobs} jobs in {seconds:.0f} s; different: {', '.join(different) or 'no file'}")
    about = f"profile {profile} on a node of SLURM, tiny study"
    same = len(local.keys() | found.keys()) - len(different)
    return [
        Row(f"{about}: files with the bytes of a local run", same, f"of {same + len(different)}"),
        Row(f"{about}: jobs", jobs),
    ]


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="slurm", choices=sorted(SOON))
    parser.add_argument("--cpus", type=int, default=8, help="of the node, in name")
    parser.add_argument("--memory", type=int, default=16_000, help="of the node in name, MB")
    options = parser.parse_args()
    if reason := missing():
        print(f"no cluster of SLURM: {reason}")
        return
    amounts = {"cpus": options.cpus, "memory": options.memory}
    with tempfile.TemporaryDirectory() as folder:
        record(compared(Path(folder), options.profile, amounts))


if __name__ == "__main__":
    main()
