"""Compare everything under results with what vouches for it, remove what is damaged, and say what to run next."""

import os
import sys
from pathlib import Path

from hessgeo.pipeline import script_context
from hessgeo.pipeline.context import COMMAND
from hessgeo.store.audit import DamageError, Made, audit
from hessgeo.store.files import discard


def summary(faults, targets):
    """One line on what was found, with the command that makes it again."""
    damaged = {fault.path for fault in faults}
    asked = {name: damaged & set(map(os.path.normpath, paths)) for name, paths in targets.items()}
    due, own = [name for name, paths in asked.items() if paths], len(set().union(*asked.values()))
    again = f"; to make them again: {' '.join([os.environ[COMMAND], *due])}" if due else ""
    rest = f"; {len(faults) - own} belong to settings other than these" if own < len(faults) else ""
    return f"{len(faults)} results were damaged or missing, and what was damaged is removed{again}{rest}"


def main(root, made, targets, report):
    """Report on each result of a folder, remove the damaged ones, and fail if there are any.

    Args:
        root: the folder.
        made: what rules make, a ``Made``.
        targets: paths that each target of the workflow makes.
        report: where the lines go.
    """
    found = audit(root, made)
    for place, (whole, count) in found.shards.items():
        report.write(f"{place}: {whole} of {count} shards ok\n")
    for fault in found.faults:
        report.write(f"{fault.told}\n")
        fault.remove()
    for path in found.leftovers:
        report.write(f"{path} was left unfinished by a job that was killed, and is removed\n")
        discard(Path(path))
    for path, told in found.strays.items():
        report.write(f"{path} {told}, and is left as it is\n")
    report.write(
        f"{found.whole} other results ok; {found.unread} logs, benchmarks and reports are read by no step\n"
    )
    if found.faults:
        raise DamageError(summary(found.faults, targets))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        main(params.results, Made(**params.made), params.targets, sys.stdout)
