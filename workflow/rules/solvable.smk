"""Systems with exact answers: samples, truths, networks, estimates, and the tables in which they are scored."""


rule create_states:
    output:
        **{name: solvable.seeded("samples", "{digest}.zarr", file) for name, file in STORE_FILES.items()},
        points=solvable.seeded("samples", "{digest}.zarr", "t", "c", "0", "0"),
        points_sidecar=solvable.seeded("manifest", "{digest}", "t", "0.json"),
    resources:
        mem_mb=1_000,
        runtime="10m",
    params:
        sampling=solvable.of("sampling", "system"),
    message:
        "Create the sample store of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/create_states.py"


rule sample_states:
    input:
        metadata=rules.create_states.output.states_metadata,
        points=rules.create_states.output.points,
        points_sidecar=rules.create_states.output.points_sidecar,
    output:
        shard=solvable.seeded("samples", "{digest}.zarr", "state", "c", "{shard}", "0"),
        sidecar=solvable.seeded("manifest", "{digest}", "state", "{shard}.json"),
    resources:
        mem_mb=2_000,
    params:
        sampling=solvable.of("sampling", "system"),
        store=subpath(output.shard, ancestor=4),
    message:
        "Sample shard {wildcards.shard} of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/sample_states.py"


rule solve_system:
    output:
        truth=solvable.path("{system}", "truth.nc"),
    params:
        system=solvable.solved,
    message:
        "Solve {wildcards.system} exactly"
    script:
        "../scripts/solve_system.py"


rule train_network:
    input:
        samples=solvable.of("samples", "system", "seed"),
    output:
        config=solvable.counted("networks", "{network}", "config.json"),
        weights=solvable.counted("networks", "{network}", "model.safetensors"),
        numbers=solvable.counted("networks", "{network}", "numbers.json"),
    # One thread rounds the same way on every machine; what runs side by side are other networks.
    threads: 1
    resources:
        runtime="4h",
    params:
        system=solvable.of("seen", "system"),
        network=solvable.of("network_settings", "system", "network"),
        store=solvable.of("store", "system", "seed"),
        code=layout.code("train_network.py", solvable.network_code),
    message:
        "Train {wildcards.network} on {wildcards.first} samples of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/train_network.py"


rule estimate_geometry:
    input:
        samples=solvable.of("samples", "system", "seed"),
        network=solvable.of("network_files", "system", "seed", "first", "estimator"),
    output:
        estimate=solvable.counted("estimates", "{estimator}.nc"),
    resources:
        runtime="4h",
    params:
        system=solvable.of("seen", "system"),
        estimator=solvable.of("estimator_settings", "system", "estimator"),
        store=solvable.of("store", "system", "seed"),
        code=layout.code("estimate_geometry.py", solvable.estimator_code),
    message:
        "Estimate by {wildcards.estimator} from {wildcards.first} samples of {wildcards.system}, seed {wildcards.seed}"
    script:
        "../scripts/estimate_geometry.py"


rule score_estimates:
    input:
        estimates=[path for table in SCORED for path in solvable.estimates(table)],
        truths=solvable.truths,
    output:
        **{f"{name}_{kind}": solvable.table(f"{name}.{kind}") for name in TABLES for kind in ("csv", "tex")},
        table1_html=report(
            solvable.table("table1.html"),
            caption="../report/solvable_table.rst",
            category="solvable systems",
            labels={"table": "Table 1"},
        ),
        table1_potential_html=report(
            solvable.table("table1_potential.html"),
            caption="../report/solvable_table.rst",
            category="solvable systems",
            labels={"table": "Table 1, like with like"},
        ),
        fisher_html=report(
            solvable.table("fisher.html"),
            caption="../report/solvable_table.rst",
            category="solvable systems",
            labels={"table": "Fisher metrics"},
        ),
        sample_convergence_html=report(
            solvable.table("sample_convergence.html"),
            caption="../report/solvable_table.rst",
            category="solvable systems",
            labels={"table": "against the number of samples"},
        ),
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
