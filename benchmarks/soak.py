"""How many kills and damages of how many the workflow survived, from the events of soaks.

``python benchmarks/soak.py /tmp/hessgeo-soak/events.csv`` records those that are there; without a file a short soak is
made first.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from record import Row, record

SOAK = Path(__file__).parents[1] / "tests" / "soak.py"
SHORT = ("--kills", "5", "--writes", "50", "--repairs", "10", "--damages", "50")
NAMES = {
    "write": "kills of a job as it wrote, after which the same job made the same bytes",
    "kill": "kills after which the same command made the same bytes",
    "repair": "damages that verify named and a run repaired to the same bytes",
    "damage": "damages that the audit named and removed alone",
}


def counted(files):
    """Rows of what went well, beside what was tried."""
    events = []
    for file in files:
        with Path(file).open(newline="", encoding="utf-8") as lines:
            events += csv.DictReader(lines)
    for fault, name in NAMES.items():
        outcomes = [event["outcome"] for event in events if event["fault"] == fault]
        if outcomes:
            yield Row(f"soak, {name}", outcomes.count("same bytes"), f"of {len(outcomes)} tried")


def main():
    """The command."""
    files = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            subprocess.run([sys.executable, SOAK, *SHORT, "--folder", folder], check=False)
            files = [Path(folder, "events.csv")]
        record(counted(files))


if __name__ == "__main__":
    main()
