"""Jobs that are killed as they write a result, without a run round them: cheap, so that there can be many."""

import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np

from hessgeo import store
from hessgeo.posteriors import read_posterior, write_posterior
from hessgeo.store.audit import audit
from hessgeo.store.files import discard
from hessgeo.store.inputs import shard_of
from hessgeo.store.vouchers import in_manifest

# Of a sidecar, what the store says; the rest the job says.
OWN = ("store", "metadata", "array", "rows", "bytes", "sha256", "tail", "versions")


def rewrite(path, source):
    """Write a result again as the job that makes it does, from what an undisturbed run made of it."""
    if known := shard_of(path):
        group, array, shard = known
        place = Path(str(source)[: -len(str(path))])
        rows = store.shard_rows(place / group, array, shard)
        data = np.asarray(store.read_array(place / group, array, rows))
        record = store.read_record(store.sidecar_file(place / group, array, shard))
        about = {key: record[key] for key in record if key not in OWN}
        store.write_shard(group, array, shard, data, about=about)
        return
    store.withdraw([path])
    discard(path)  # as Snakemake does before a job
    if path.name == "posterior.zarr":
        write_posterior(path, read_posterior(source))
    elif path.suffix == ".json" and "models" not in path.parts:
        store.write_json(path, store.read_json(source))
    else:
        with store.whole(path) as partial:
            shutil.copyfile(source, partial)
    store.vouch([path])


def forked(work):
    """Do something in a process of its own; its exit status tells whether it went well."""
    if child := os.fork():
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def results(files):
    """The results among files: one path a shard, one a folder, none of what vouches for them."""
    found = set()
    for file in files:
        inside = [place for place in file.parents if place.name == "posterior.zarr"]
        if inside and ".vouchers" not in file.parts:
            found.add(inside[0])
        elif ".vouchers" not in file.parts and file.name != "zarr.json":
            found |= {file} if shard_of(file) is None or "manifest" not in file.parts else set()
    return sorted(found)


def faults_of(path, made):
    """What the audit says is wrong with a result."""
    about = str(store.sidecar_file(*shard_of(path))) if in_manifest(path) else str(path)
    return [fault for fault in audit("results", made).faults if fault.path == about]


def killed_writes(soak, number, count, made, event):
    """Kill jobs as they write, one by one, in the working directory; the same job again must make the same bytes.

    Args:
        soak: with the undisturbed run, and ``same``, whether the place has its files.
        number: of the round.
        count: kills.
        made: what rules make.
        event: makes a row.
    """
    name = f"write:{number}"
    rng, events = random.Random(f"{soak.seed}/{name}"), []
    paths = results([Path(path) for path in soak.expected])
    for _ in range(count):
        path = rng.choice(paths)
        job = partial(rewrite, path, soak.whole(path))
        start = time.perf_counter()
        if os.waitpid(forked(job), 0)[1]:
            events.append(event(name, "write", str(path), 0.0, "", "the job fails undisturbed"))
            continue
        moment = rng.uniform(0, 0.6 * (time.perf_counter() - start))
        child = forked(job)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        ended_before = os.waitpid(child, 0)[1] == 0
        found = faults_of(path, made)
        there = os.path.lexists(path)
        whole = ("ended before" if ended_before else "whole") if there else "not there, which Snakemake sees"
        told = "; ".join(fault.told for fault in found) or whole
        outcome = "same bytes"
        if there and not found and not soak.same():
            outcome = "not seen"
        if os.waitpid(forked(job), 0)[1]:
            outcome = "the same job again fails"
        elif faults_of(path, made) or not soak.same():
            outcome = f"other bytes, {outcome}"
            soak.copy()
        events.append(event(name, "write", str(path), round(moment, 4), told, outcome))
    left = audit("results", made)
    if left.leftovers or left.faults:
        # Each job removes what a killed one left unfinished; Zarr's own temporary files are left to verify.
        own = [path for path in left.leftovers if "/c/" not in path]
        if own or left.faults:
            events[-1].outcome = f"left: {[*own, *(fault.told for fault in left.faults)][:3]}"
    return events
