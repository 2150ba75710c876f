"""From the posterior to the free energy and its metric."""


rule fit_free_energy:
    input:
        posterior=rules.estimate_posterior.output.posterior,
        points=of_study("complete", "t"),
        embedding=of_study("embedding_of_no_posterior"),
    output:
        free_energy=study("free_energy.nc"),
        numbers=study("numbers", "free_energy.json"),
    # Newton's steps are serial: on two threads a fit took as long as on one, and rounded in another way.
    threads: 1
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        fit=setting("free_energy"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Fit the free energy of {wildcards.study} and its Hessian"
    script:
        "../scripts/fit_free_energy.py"


rule derive_metric:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        posterior=rules.estimate_posterior.output.posterior,
        points=of_study("complete", "t"),
        embedding=of_study("embedding_of_no_posterior"),
    output:
        metric=study("metric.nc"),
        numbers=study("numbers", "metric.json"),
    resources:
        runtime="20m",
    params:
        design=setting("sampling", "design"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Derive the Fisher metric of {wildcards.study} and measure it beside"
    script:
        "../scripts/derive_metric.py"


rule scan_resolution:
    input:
        posterior=rules.estimate_posterior.output.posterior,
        points=of_study("complete", "t"),
        embedding=of_study("embedding_of_no_posterior"),
    output:
        table=study("resolution_scan.csv"),
        numbers=study("numbers", "resolution_scan.json"),
    threads: 1
    resources:
        mem_mb=8_000,
        runtime="8h",
    params:
        seed=setting("seed"),
        factors=setting("scan", "factors"),
        posterior=of_study("posterior_settings"),
        fit=setting("free_energy"),
        phases=setting("phases"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Repeat {wildcards.study} at other resolutions"
    script:
        "../scripts/scan_resolution.py"


rule calibrate_posterior:
    input:
        posterior=rules.estimate_posterior.output.posterior,
        free_energy=rules.fit_free_energy.output.free_energy,
        points=of_study("complete", "t"),
        images=of_study("posterior_images"),
        embedding=of_study("embedding_of_no_posterior"),
        network=of_study("network_files"),
    output:
        calibration=study("calibration.nc"),
        numbers=study("numbers", "calibration.json"),
    resources:
        mem_mb=8_000,
    params:
        seed=setting("seed"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Calibrate the posteriors of {wildcards.study}, measured and fitted"
    script:
        "../scripts/calibrate_posterior.py"
