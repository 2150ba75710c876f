"""Draw what is known exactly of solvable systems, and what estimators make of their samples."""


rule draw_ising_free_energy:
    input:
        estimates=solvable.shown_estimates("ising_free_energy"),
        truths=solvable.shown_truths("ising_free_energy"),
    output:
        svg=report(
            solvable.path("figures", "ising_free_energy.svg"),
            caption="../report/ising_free_energy.rst",
            category="solvable systems",
            labels={"figure": "Ising free energy"},
        ),
        png=solvable.path("figures", "ising_free_energy.png"),
        csv=solvable.path("figures", "ising_free_energy.csv"),
    log:
        logs("solvable", "draw_ising_free_energy.log"),
    benchmark:
        benchmarks("solvable", "draw_ising_free_energy.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("ising_free_energy"),
        systems=solvable.shown_systems("ising_free_energy"),
    message:
        "Draw the free energy of the Ising model beside the exact one"
    script:
        "../scripts/draw_ising_free_energy.py"


rule draw_tasep_free_energy:
    input:
        estimates=solvable.shown_estimates("tasep_free_energy"),
        truths=solvable.shown_truths("tasep_free_energy"),
    output:
        svg=report(
            solvable.path("figures", "tasep_free_energy.svg"),
            caption="../report/tasep_free_energy.rst",
            category="solvable systems",
            labels={"figure": "TASEP free energy"},
        ),
        png=solvable.path("figures", "tasep_free_energy.png"),
        csv=solvable.path("figures", "tasep_free_energy.csv"),
    log:
        logs("solvable", "draw_tasep_free_energy.log"),
    benchmark:
        benchmarks("solvable", "draw_tasep_free_energy.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("tasep_free_energy"),
        systems=solvable.shown_systems("tasep_free_energy"),
    message:
        "Draw the free energy of TASEP beside the exact one"
    script:
        "../scripts/draw_tasep_free_energy.py"


rule draw_learned_statistics:
    input:
        samples=solvable.shown_samples,
        network=solvable.shown_network,
    output:
        svg=report(
            solvable.path("figures", "learned_statistics.svg"),
            caption="../report/learned_statistics.rst",
            category="solvable systems",
            labels={"figure": "learned statistics"},
        ),
        png=solvable.path("figures", "learned_statistics.png"),
        csv=solvable.path("figures", "learned_statistics.csv"),
    log:
        logs("solvable", "draw_learned_statistics.log"),
    benchmark:
        benchmarks("solvable", "draw_learned_statistics.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        systems=solvable.shown_systems("learned_statistics"),
        store=lambda wildcards: solvable.shown_store,
    message:
        "Draw learned statistics against energy and magnetisation"
    script:
        "../scripts/draw_learned_statistics.py"


rule draw_sample_convergence:
    input:
        estimates=solvable.shown_estimates("sample_convergence"),
        truths=solvable.shown_truths("sample_convergence"),
    output:
        svg=report(
            solvable.path("figures", "sample_convergence.svg"),
            caption="../report/sample_convergence.rst",
            category="solvable systems",
            labels={"figure": "error against samples"},
        ),
        png=solvable.path("figures", "sample_convergence.png"),
        csv=solvable.path("figures", "sample_convergence.csv"),
    log:
        logs("solvable", "draw_sample_convergence.log"),
    benchmark:
        benchmarks("solvable", "draw_sample_convergence.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("sample_convergence"),
        systems=solvable.shown_systems("sample_convergence"),
    message:
        "Draw errors of metrics against the number of samples"
    script:
        "../scripts/draw_sample_convergence.py"


rule draw_posterior_sharpening:
    output:
        svg=report(
            solvable.path("figures", "posterior_sharpening.svg"),
            caption="../report/posterior_sharpening.rst",
            category="solvable systems",
            labels={"figure": "Theorem 3.1"},
        ),
        png=solvable.path("figures", "posterior_sharpening.png"),
        csv=solvable.path("figures", "posterior_sharpening.csv"),
    log:
        logs("solvable", "draw_posterior_sharpening.log"),
    benchmark:
        benchmarks("solvable", "draw_posterior_sharpening.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        systems=solvable.shown_systems("posterior_sharpening"),
        draws=solvable.solvable["figures"]["draws"],
    message:
        "Draw how posteriors of many samples sharpen"
    script:
        "../scripts/draw_posterior_sharpening.py"


rule draw_hessian_convergence:
    input:
        estimates=solvable.shown_estimates("hessian_convergence"),
        truths=solvable.shown_truths("hessian_convergence"),
    output:
        svg=report(
            solvable.path("figures", "hessian_convergence.svg"),
            caption="../report/hessian_convergence.rst",
            category="solvable systems",
            labels={"figure": "Theorem 3.2"},
        ),
        png=solvable.path("figures", "hessian_convergence.png"),
        csv=solvable.path("figures", "hessian_convergence.csv"),
    log:
        logs("solvable", "draw_hessian_convergence.log"),
    benchmark:
        benchmarks("solvable", "draw_hessian_convergence.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("hessian_convergence"),
        systems=solvable.shown_systems("hessian_convergence"),
    message:
        "Draw errors of Hessians against the loss of divergences"
    script:
        "../scripts/draw_hessian_convergence.py"


rule draw_finite_size_scaling:
    output:
        svg=report(
            solvable.path("figures", "finite_size_scaling.svg"),
            caption="../report/finite_size_scaling.rst",
            category="solvable systems",
            labels={"figure": "finite-size scaling"},
        ),
        png=solvable.path("figures", "finite_size_scaling.png"),
        csv=solvable.path("figures", "finite_size_scaling.csv"),
    log:
        logs("solvable", "draw_finite_size_scaling.log"),
    benchmark:
        benchmarks("solvable", "draw_finite_size_scaling.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        sizes=solvable.solvable["figures"]["sizes"],
        samples=solvable.solvable["figures"]["samples"],
    message:
        "Draw how the heat capacity peaks on finite lattices"
    script:
        "../scripts/draw_finite_size_scaling.py"


rule draw_curvature_comparison:
    input:
        estimates=solvable.shown_estimates("curvature_comparison"),
        truths=solvable.shown_truths("curvature_comparison"),
    output:
        svg=report(
            solvable.path("figures", "curvature_comparison.svg"),
            caption="../report/curvature_comparison.rst",
            category="solvable systems",
            labels={"figure": "curvature"},
        ),
        png=solvable.path("figures", "curvature_comparison.png"),
        csv=solvable.path("figures", "curvature_comparison.csv"),
    log:
        logs("solvable", "draw_curvature_comparison.log"),
    benchmark:
        benchmarks("solvable", "draw_curvature_comparison.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("curvature_comparison"),
        systems=solvable.shown_systems("curvature_comparison"),
    message:
        "Draw the thermodynamic curvature beside the exact one"
    script:
        "../scripts/draw_curvature_comparison.py"


rule draw_fisher_comparison:
    input:
        estimates=solvable.shown_estimates("fisher_comparison"),
        truths=solvable.shown_truths("fisher_comparison"),
    output:
        svg=report(
            solvable.path("figures", "fisher_comparison.svg"),
            caption="../report/fisher_comparison.rst",
            category="solvable systems",
            labels={"figure": "Fisher metrics"},
        ),
        png=solvable.path("figures", "fisher_comparison.png"),
        csv=solvable.path("figures", "fisher_comparison.csv"),
    log:
        logs("solvable", "draw_fisher_comparison.log"),
    benchmark:
        benchmarks("solvable", "draw_fisher_comparison.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="30m",
    params:
        records=solvable.shown_records("fisher_comparison"),
        systems=solvable.shown_systems("fisher_comparison"),
    message:
        "Draw the errors of Fisher metrics over the plane"
    script:
        "../scripts/draw_fisher_comparison.py"
