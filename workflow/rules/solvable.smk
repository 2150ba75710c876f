"""Systems with exact answers: samples, truths, networks, estimates, and the tables in which they are scored."""


rule create_states:
    output:
        **solvable.any_store.created("state"),
    resources:
        mem_mb=1_000,
        runtime="10m",
    params:
        sampling=solvable.of("part", "system", of="samples"),
    message:
        "Create the sample store of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/create_states.py"


rule sample_states:
    input:
        metadata=rules.create_states.output.state_metadata,
        points=rules.create_states.output.points,
        points_sidecar=rules.create_states.output.points_sidecar,
    output:
        shard=solvable.any_store.shard("state"),
        sidecar=solvable.any_store.sidecar("state"),
    resources:
        mem_mb=2_000,
    params:
        frame=layout.code("create_states.py"),
        sampling=solvable.of("part", "system", of="samples"),
        store=subpath(output.shard, ancestor=4),
    message:
        "Sample shard {wildcards.shard} of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/sample_states.py"


rule solve_system:
    output:
        truth=solvable.truth("{system}"),
    params:
        system=solvable.of("part", "system", of="truth"),
    message:
        "Solve {wildcards.system} exactly"
    script:
        "../scripts/solve_system.py"


# A job makes all that is scored of the same samples, and of that only what is due, see ``make_parts``: its outputs stay.
for group in solvable.groups:

    rule:
        name:
            f"estimate_geometry{group.suffix}"
        input:
            samples=solvable.of("samples", "system", "seed"),
            sidecars=solvable.of("sidecars", "system", "seed"),
        output:
            [update(path) for path in group.outputs],
        wildcard_constraints:
            system=group.systems,
        # One thread rounds the same way on every machine; what runs side by side are other samples.
        threads: 1
        resources:
            runtime="8h",
        params:
            system=solvable.of("part", "system", of="estimates"),
            parts=group.parts,
            store=solvable.of("store", "system", "seed"),
            code=group.code(layout.codes),
        message:
            "Train networks and estimate from {wildcards.samples} samples of {wildcards.system}, seed {wildcards.seed}"
        script:
            "../scripts/estimate_geometry.py"


rule score_estimates:
    input:
        estimates=[path for table in SCORED for path in solvable.estimates(table)],
        truths=solvable.truths,
    output:
        **{f"{name}_{kind}": solvable.table(f"{name}.{kind}") for name in TABLES for kind in ("csv", "tex")},
        **{
            f"{name}_html": report(
                solvable.table(f"{name}.html"),
                caption="../report/solvable_table.rst",
                category="solvable systems",
                labels={"table": label},
            )
            for name, label in TABLES.items()
        },
        numbers=solvable.path("numbers.json"),
    resources:
        runtime="30m",
    params:
        records={table: solvable.records(table) for table in SCORED},
        systems=dict(solvable.systems),
        scored=solvable.scored,
    message:
        "Score the estimates of all solvable systems"
    script:
        "../scripts/score_estimates.py"


rule table1:
    input:
        solvable.targets,
    message:
        "The tables and figures of solvable systems are complete"
