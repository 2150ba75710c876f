"""Kill runs at random moments and damage results at random, and compare every digest with an undisturbed run's.

``python tests/soak.py --kills 200 --damages 1000 --seed 0`` works in a folder of its own, and goes on where it stopped:
what is done is in ``events.csv``, a row an event. Events come in rounds, each of a seed of its own, so that
``--round kill:7`` repeats one. The study is small but whole: images and features that are there, posterior, fit,
metric, phases, a figure.
"""

import argparse
import contextlib
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from damages import DAMAGES, UNREAD, Damaged, digests, lost_beyond
from kills import ended, left_over, strike, wait_for_jobs
from running import Workflow, made_by_workflow
from writing import killed_writes

from hessgeo.store.audit import audit
from hessgeo.store.files import discard

REPOSITORY = Path(__file__).parent.parent
NODES, SHARD = 16, 64
STUDY = {
    "run": ["soak"],
    "studies": {
        "soak": {
            "system": {"kind": "samples", "images": "images.npy", "parameters": "points.csv"},
            "sampling": {"shard": SHARD},
            "embedding": {"kind": "file", "file": "features.npy"},
            "posterior": {"cells": 20, "quantile": 0.5},
            "free_energy": {"fit": "spline", "splines": [8, 8]},
        }
    },
}
MOMENTS = 0.08  # kills come within this share of the time of a run, once jobs are at work;
PARTIAL = re.compile(r"\.partial(/|$)")  # what a killed job was writing
EARLY = 0.2  # some come before
PATIENCE = 600  # seconds until a run counts as hanging


@dataclass
class Event:
    """A row of the record."""

    round: str
    fault: str
    what: str
    moment: float = 0.0
    at_work: str = ""
    outcome: str = ""


def write_inputs(folder):
    """Images and features of two phases in the plane, parted by a circle."""
    a, b = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0, 1, NODES)] * 2, indexing="ij"))
    angle = np.arctan(8 * (np.hypot(a - 0.4, b - 0.5) - 0.3)) + 0.3 * a
    turn = 0.5 * b
    features = [np.cos(angle), np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)]
    np.save(folder / "features.npy", np.stack(features, axis=1))
    shades = (127 + 127 * np.sin(angle)).astype(np.uint8)
    np.save(folder / "images.npy", np.broadcast_to(shades[:, None, None, None], (len(a), 8, 8, 1)).copy())
    table = "a,b\n" + "".join(f"{x!r},{y!r}\n" for x, y in zip(a.tolist(), b.tolist(), strict=True))
    (folder / "points.csv").write_text(table)


class Soak:
    """An undisturbed run, and a place beside it where runs are disturbed.

    Args:
        folder: of both.
        seed: of all rounds.
        whole: a finished workflow, in the place of our own study; runs make ``targets`` of it again.
        targets: paths.
    """

    def __init__(self, folder, seed, whole=None, targets=()):
        self.folder, self.seed = Path(folder).absolute(), seed
        self.events, self.made = self.folder / "events.csv", None
        self.whole, self.targets, self.again = whole, list(targets), whole is not None
        if self.again:
            (self.folder / "disturbed").mkdir()
            self.place = Workflow(REPOSITORY, self.folder / "disturbed", base=whole.overrides)
            self.seconds, self.expected = 40.0, digests(whole.directory)
        else:
            self.whole = Workflow(REPOSITORY, self._made("undisturbed"), base=STUDY)
            self.place = Workflow(REPOSITORY, self._made("disturbed"), base=STUDY)
            self.targets = self._own_targets()
            self.expected = self._undisturbed()

    def _own_targets(self):
        results = ["posterior.zarr", "free_energy.nc", "metric.nc", "phases.nc", "phases.json"]
        figure = [f"figures/metric.{kind}" for kind in ("svg", "png", "csv")]
        arrays = ("t", "image", "embedding")
        study = self.whole.in_folder()
        shards = [path for array in arrays for path in (*study.shards(array), *study.sidecars(array))]
        return [*(f"results/soak/{name}" for name in (*results, *figure)), *dict.fromkeys(shards)]

    def _made(self, name):
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "points.csv").exists():
            write_inputs(place)
        return place

    def _undisturbed(self):
        done = self.folder / "seconds"
        if not done.exists():
            start = time.monotonic()
            self.whole.run(*self.targets)
            done.write_text(f"{time.monotonic() - start:.1f}")
        self.seconds = float(done.read_text())
        return digests(self.whole.directory)

    def clear(self):
        """Forget all that was made in the place, Snakemake's records too."""
        for name in ("results", ".snakemake"):
            shutil.rmtree(self.place(name), ignore_errors=True)

    def begin(self):
        """A place in which the targets are to be made, all of it or the last part."""
        if not self.again:
            self.clear()
            return
        self.copy()
        for path in map(self.place, self.targets):
            discard(path)

    def copy(self):
        """Put what the undisturbed run made into the place."""
        self.clear()
        shutil.copytree(self.whole.directory, self.place.directory, symlinks=True, dirs_exist_ok=True)

    def record(self, events):
        """Append rows, and say what did not end well."""
        new = not self.events.exists()
        with self.events.open("a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [field.name for field in fields(Event)])
            if new:
                table.writeheader()
            table.writerows(map(asdict, events))
        return all(event.outcome == "same bytes" for event in events)

    def count(self, fault):
        """How many events of a fault are recorded, and in how many rounds."""
        if not self.events.exists():
            return 0, 0
        with self.events.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["fault"] == fault]
        return len(rows), len({row["round"] for row in rows})

    def verdict(self):
        """What is wrong with the place after a run that ended well, "same bytes" if nothing is."""
        found = digests(self.place.directory)
        wrong = sorted(
            path for path in found.keys() | self.expected if found.get(path) != self.expected.get(path)
        )
        # What a killed job was writing, and files of others that a repair puts aside and keeps.
        kept = (".partial/content", ".set-aside/mine.txt")
        wrong = [path for path in wrong if path in self.expected or not path.endswith(kept)]
        checked = self.place.run("verify", cores=1, check=False)
        if checked.returncode or wrong:
            return f"differ: {' '.join(wrong[:3])}; verify: {checked.stdout[-300:]}"
        return "same bytes"

    def same(self):
        """Whether the working directory has the files of the undisturbed run, unfinished ones aside."""
        found = digests(".")
        return {path: found[path] for path in found if not PARTIAL.search(path)} == self.expected

    # Kills

    def start(self, log):
        """The plain command, in a process group of its own."""
        return subprocess.Popen(
            self.place.command(*self.targets),
            cwd=self.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill_round(self, number, limit):
        """Kill a run until it ends by itself, at most ``limit`` times; returns the events."""
        name, events = f"kill:{number}", []
        rng = random.Random(f"{self.seed}/{name}")
        self.begin()
        with (self.folder / "output.log").open("w") as log:
            process, strikes = self.start(log), 0
            while True:
                moment, early = rng.uniform(0, MOMENTS * self.seconds), rng.random() < EARLY
                last = len(events) >= limit
                if not (last or early):
                    wait_for_jobs(process)
                if ended(process, PATIENCE if last else moment):
                    if process.returncode == 0:
                        break
                    if not strikes:
                        return self._failed(
                            name, events, log, f"a run failed by itself ({process.returncode})"
                        )
                else:
                    if last:
                        os.killpg(process.pid, signal.SIGKILL)
                        return self._failed(name, events, log, f"a run hung for {PATIENCE} s")
                    event = strike(process, rng)
                    events.append(Event(name, "kill", event[0], round(moment, 2), event[1]))
                    strikes += 1
                    if event[0].startswith("job"):
                        continue
                    if not ended(process, PATIENCE):
                        os.killpg(process.pid, signal.SIGKILL)
                        return self._failed(name, events, log, f"a run that was killed hung for {PATIENCE} s")
                # As the documentation says: the same command again, at once.
                process, strikes = self.start(log), 0
        outcome = "jobs outlived their run" if left_over(self.place.directory) else self.verdict()
        for event in events:
            event.outcome = outcome
        return events

    def _failed(self, name, events, log, outcome):
        log.flush()
        text = Path(log.name).read_text()
        events = events or [Event(name, "kill", "none")]
        shutil.copy(log.name, self.folder / f"failed-{name.replace(':', '-')}.log")
        for event in events:
            event.outcome = f"{outcome}: {text[-300:]}"
        return events

    # Damages

    def damage(self, rng, files, taken=()):
        """Damage a file that is not among ``taken``; returns what was done to which."""
        kinds = {}
        for file in files:
            kinds.setdefault(kind_of(file), []).append(file)
        while True:
            file = rng.choice(kinds[rng.choice(sorted(kinds))])
            damage = rng.choice(sorted(DAMAGES))
            if done := DAMAGES[damage](file, rng, files, taken):
                return Damaged(damage, done)

    def damage_round(self, number, count, made):
        """Damages one by one; each must be seen by the audit, and cost nothing beyond itself."""
        name, events = f"damage:{number}", []
        rng = random.Random(f"{self.seed}/{name}")
        with contextlib.chdir(self.place.directory):
            files = result_files()
            assert audit("results", made).faults == []
            for _ in range(count):
                damaged = self.damage(rng, files)
                before = listing()
                found = audit("results", made).faults
                for fault in found:
                    fault.remove()
                outcome = "same bytes"
                if not found:
                    outcome = "not seen"
                elif any("\n" in fault.told for fault in found):
                    outcome = "told in more than one line"
                elif lost := lost_beyond(damaged, found, before, listing()):
                    outcome = f"lost as well: {' '.join(lost[:3])}"
                self._restore(damaged, found)
                if audit("results", made).faults or digests(".") != self.expected:
                    outcome = f"not as before, {outcome}"
                    self.copy()
                told = "; ".join(fault.told for fault in found)
                events.append(Event(name, "damage", str(damaged), 0.0, told[:200], outcome))
        return events

    def _restore(self, damaged, found):
        """Put back what was damaged and removed, as the steps that make it would."""
        for path in {*damaged.files, *(path for fault in found for path in damaged.of(fault))}:
            source, target = self.whole(path), Path(path)
            for place in (target, target.with_name(target.name + ".set-aside")):
                discard(place)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def repair_round(self, number, count):
        """Damages at once; ``verify`` must name each, and the plain command make the same bytes again."""
        name = f"repair:{number}"
        rng = random.Random(f"{self.seed}/{name}")
        self.copy()
        with contextlib.chdir(self.place.directory):
            files, damages = result_files(), []
            for _ in range(count):
                taken = {path for damaged in damages for path in damaged.files}
                damages.append(self.damage(rng, files, taken))
        told = self.place.run("verify", cores=1, check=False)
        again = self.place.run(*self.targets, check=False)
        outcome = self.verdict() if again.returncode == 0 else f"not repaired: {again.stderr[-300:]}"
        events = []
        for damaged in damages:
            named = told.returncode != 0 and damaged.named(told.stdout)
            events.append(Event(name, "repair", str(damaged), 0.0, "", outcome if named else "not named"))
        return events


def result_files():
    """Files that steps read, relative to the working directory."""
    found = sorted(
        path for path in Path("results").rglob("*") if path.is_file() and path.parts[1] not in UNREAD
    )
    return [path for path in found if path.name != ".snakemake_timestamp"]


def kind_of(file):
    """Files of one kind are made in one way: shards, sidecars, vouchers of one folder, and so on."""
    return " ".join([file.suffix, *file.parts[2:4][:-1], *({".vouchers", "c"} & set(file.parts))])


def listing():
    """What lies under the results, with sizes."""
    return {str(path): path.lstat().st_size for path in Path("results").rglob("*") if not path.is_dir()}


def one_round(soak, fault, number, count):
    """A round of one fault; those that run no workflow begin with what the undisturbed run made."""
    if fault == "kill":
        return soak.kill_round(number, count)
    if fault == "repair":
        return soak.repair_round(number, count)
    if soak.made is None:
        soak.made = made_by_workflow(REPOSITORY, soak.folder)
    soak.copy()
    if fault == "damage":
        return soak.damage_round(number, count, soak.made)
    with contextlib.chdir(soak.place.directory):
        return killed_writes(soak, number, count, soak.made, Event)


def run(soak, asked, sizes):
    """All rounds that are not recorded yet; returns whether everything ended well."""
    well = True
    for fault in asked:
        while (done := soak.count(fault))[0] < asked[fault]:
            events = one_round(soak, fault, done[1], min(asked[fault] - done[0], sizes[fault]))
            well &= soak.record(events)
            bad = sum(event.outcome != "same bytes" for event in events)
            sys.stdout.write(
                f"{fault}: {done[0] + len(events)} of {asked[fault]}, {bad} of the last {len(events)} bad\n"
            )
            sys.stdout.flush()
    return well


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=1000, help="kills of a job as it writes, without a run")
    parser.add_argument("--damages", type=int, default=1000, help="named by the audit, and put back")
    parser.add_argument("--kills", type=int, default=200, help="of a run, its jobs or both")
    parser.add_argument("--repairs", type=int, default=100, help="damages that go through verify and a run")
    parser.add_argument("--kills-a-round", type=int, default=10, help="of one study, from nothing to its end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="/tmp/hessgeo-soak")
    parser.add_argument("--round", default="", help="repeat one, such as kill:7, and nothing else")
    given = parser.parse_args()
    soak = Soak(given.folder, given.seed)
    asked = {"write": given.writes, "damage": given.damages, "kill": given.kills, "repair": given.repairs}
    sizes = {"write": 50, "damage": 50, "kill": given.kills_a_round, "repair": 10}
    if not given.round:
        sys.exit(not run(soak, asked, sizes))
    fault, _, number = given.round.partition(":")
    events = one_round(soak, fault, int(number), sizes[fault])
    for event in events:
        sys.stdout.write(f"{event}\n")
    sys.exit(any(event.outcome != "same bytes" for event in events))


if __name__ == "__main__":
    main()
