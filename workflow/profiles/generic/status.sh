#!/bin/sh
# What became of a job of SLURM, by its number: running, success or failed.
number=${1%%;*}
state=$(squeue --noheader --states=all --format=%T --jobs="$number" 2>&1) || case $state in
    # Forgotten, five minutes after its end; the accounting knows it, where there is one.
    *"Invalid job id"*) state=$(sacct --noheader --allocations --parsable2 --format=State --jobs="$number" 2>/dev/null) ;;
    # The daemon is away: the job is where it was, and is asked for again.
    *) state=UNKNOWN ;;
esac
case $state in
    COMPLETED*) echo success ;;
    "" | BOOT_FAIL* | CANCELLED* | DEADLINE* | FAILED* | NODE_FAIL* | OUT_OF_MEMORY* | PREEMPTED* | TIMEOUT*) echo failed ;;
    *) echo running ;;
esac
