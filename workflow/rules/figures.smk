"""Draw the figures."""


rule draw_mosaic:
    input:
        phases=rules.segment_phases.output.phases,
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
    output:
        svg=report(
            study("figures", "mosaic.svg"),
            caption="../report/mosaic.rst",
            category="{study}",
            labels={"figure": "mosaic"},
        ),
        png=study("figures", "mosaic.png"),
        csv=study("figures", "mosaic.csv"),
    log:
        logs("{study}", "draw_mosaic.log"),
    benchmark:
        benchmarks("{study}", "draw_mosaic.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    params:
        tiles=setting("figures", "mosaic"),
        grid=of_study("grid"),
        store=of_study("samples"),
    message:
        "Draw the images of {wildcards.study} where they come from"
    script:
        "../scripts/draw_mosaic.py"


rule draw_free_energy:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
    output:
        svg=report(
            study("figures", "free_energy.svg"),
            caption="../report/free_energy.rst",
            category="{study}",
            labels={"figure": "free energy"},
        ),
        png=study("figures", "free_energy.png"),
        csv=study("figures", "free_energy.csv"),
    log:
        logs("{study}", "draw_free_energy.log"),
    benchmark:
        benchmarks("{study}", "draw_free_energy.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the free energy of {wildcards.study}"
    script:
        "../scripts/draw_free_energy.py"


rule draw_first_derivatives:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        phases=rules.segment_phases.output.phases,
    output:
        svg=report(
            study("figures", "first_derivatives.svg"),
            caption="../report/first_derivatives.rst",
            category="{study}",
            labels={"figure": "first derivatives"},
        ),
        png=study("figures", "first_derivatives.png"),
        csv=study("figures", "first_derivatives.csv"),
    log:
        logs("{study}", "draw_first_derivatives.log"),
    benchmark:
        benchmarks("{study}", "draw_first_derivatives.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the first derivatives of the free energy of {wildcards.study}"
    script:
        "../scripts/draw_first_derivatives.py"


rule draw_second_derivatives:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        phases=rules.segment_phases.output.phases,
    output:
        svg=report(
            study("figures", "second_derivatives.svg"),
            caption="../report/second_derivatives.rst",
            category="{study}",
            labels={"figure": "second derivatives"},
        ),
        png=study("figures", "second_derivatives.png"),
        csv=study("figures", "second_derivatives.csv"),
    log:
        logs("{study}", "draw_second_derivatives.log"),
    benchmark:
        benchmarks("{study}", "draw_second_derivatives.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the second derivatives of the free energy of {wildcards.study}"
    script:
        "../scripts/draw_second_derivatives.py"


rule draw_metric:
    input:
        metric=rules.derive_metric.output.metric,
        phases=rules.segment_phases.output.phases,
    output:
        svg=report(
            study("figures", "metric.svg"),
            caption="../report/metric.rst",
            category="{study}",
            labels={"figure": "metric"},
        ),
        png=study("figures", "metric.png"),
        csv=study("figures", "metric.csv"),
    log:
        logs("{study}", "draw_metric.log"),
    benchmark:
        benchmarks("{study}", "draw_metric.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the Fisher metric of {wildcards.study}"
    script:
        "../scripts/draw_metric.py"


rule draw_phases:
    input:
        fields=rules.segment_phases.output.fields,
        phases=rules.segment_phases.output.phases,
        images=of_study("complete", "image"),
    output:
        svg=report(
            study("figures", "phases.svg"),
            caption="../report/phases.rst",
            category="{study}",
            labels={"figure": "phases"},
        ),
        png=study("figures", "phases.png"),
        csv=study("figures", "phases.csv"),
    log:
        logs("{study}", "draw_phases.log"),
    benchmark:
        benchmarks("{study}", "draw_phases.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    params:
        store=of_study("samples"),
    message:
        "Draw the phases of {wildcards.study}"
    script:
        "../scripts/draw_phases.py"


rule draw_posteriors:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        posterior=rules.estimate_posterior.output.posterior,
        phases=rules.segment_phases.output.phases,
        images=of_study("complete", "image"),
        embedding=of_study("complete", "embedding"),
    output:
        svg=report(
            study("figures", "posteriors.svg"),
            caption="../report/posteriors.rst",
            category="{study}",
            labels={"figure": "posteriors"},
        ),
        png=study("figures", "posteriors.png"),
        csv=study("figures", "posteriors.csv"),
    log:
        logs("{study}", "draw_posteriors.log"),
    benchmark:
        benchmarks("{study}", "draw_posteriors.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    params:
        sources=setting("figures", "sources"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Draw measured and fitted posteriors of {wildcards.study}"
    script:
        "../scripts/draw_posteriors.py"


rule draw_lipschitz:
    input:
        fields=rules.segment_phases.output.fields,
        phases=rules.segment_phases.output.phases,
    output:
        svg=report(
            study("figures", "lipschitz.svg"),
            caption="../report/lipschitz.rst",
            category="{study}",
            labels={"figure": "lipschitz"},
        ),
        png=study("figures", "lipschitz.png"),
        csv=study("figures", "lipschitz.csv"),
    log:
        logs("{study}", "draw_lipschitz.log"),
    benchmark:
        benchmarks("{study}", "draw_lipschitz.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the Lipschitz field of {wildcards.study}"
    script:
        "../scripts/draw_lipschitz.py"


rule draw_resolution_scan:
    input:
        table=rules.scan_resolution.output.table,
    output:
        svg=report(
            study("figures", "resolution_scan.svg"),
            caption="../report/resolution_scan.rst",
            category="{study}",
            labels={"figure": "resolution scan"},
        ),
        png=study("figures", "resolution_scan.png"),
        csv=study("figures", "resolution_scan.csv"),
    log:
        logs("{study}", "draw_resolution_scan.log"),
    benchmark:
        benchmarks("{study}", "draw_resolution_scan.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw how {wildcards.study} moves with its resolution"
    script:
        "../scripts/draw_resolution_scan.py"


rule draw_error_bars:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
    output:
        svg=report(
            study("figures", "error_bars.svg"),
            caption="../report/error_bars.rst",
            category="{study}",
            labels={"figure": "error bars"},
        ),
        png=study("figures", "error_bars.png"),
        csv=study("figures", "error_bars.csv"),
    log:
        logs("{study}", "draw_error_bars.log"),
    benchmark:
        benchmarks("{study}", "draw_error_bars.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    message:
        "Draw the standard errors of {wildcards.study}"
    script:
        "../scripts/draw_error_bars.py"


rule draw_inversion:
    input:
        anchors=of_study("anchor_outputs"),
    output:
        svg=report(
            study("figures", "inversion.svg"),
            caption="../report/inversion.rst",
            category="{study}",
            labels={"figure": "inversion"},
        ),
        png=study("figures", "inversion.png"),
        csv=study("figures", "inversion.csv"),
    log:
        logs("{study}", "draw_inversion.log"),
    benchmark:
        benchmarks("{study}", "draw_inversion.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    params:
        sources=of_study("anchor_sources"),
        image_shape=of_study("image_shape"),
    message:
        "Draw the images that {wildcards.study} starts from, and what their latents make of them"
    script:
        "../scripts/draw_inversion.py"


rule draw_routes:
    input:
        free_energy=layout.of_comparison("free_energy.nc"),
        metric=layout.of_comparison("metric.nc"),
        phases=layout.of_comparison("phases.json"),
    output:
        svg=report(
            layout.comparison("{comparison}.svg"),
            caption="../report/routes.rst",
            category="comparisons",
            labels={"figure": "{comparison}"},
        ),
        png=layout.comparison("{comparison}.png"),
        csv=layout.comparison("{comparison}.csv"),
    log:
        logs("comparisons", "draw_routes", "{comparison}.log"),
    benchmark:
        benchmarks("comparisons", "draw_routes", "{comparison}.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="20m",
    params:
        labels=layout.of_comparison("name"),
    message:
        "Draw the studies of {wildcards.comparison} side by side"
    script:
        "../scripts/draw_routes.py"
