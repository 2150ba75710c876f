"""Geodesics of densities (Kim et al. 2024): paths, graphs, clusters, embeddings, interpolation."""

density = layout.generative


rule sweep_lambda:
    output:
        paths=density.path("lambda_sweep.nc"),
    params:
        sweep=density.setting("lambda_sweep"),
    message:
        "Find shortest paths through a density for several lam"
    script:
        "../scripts/sweep_lambda.py"


rule build_graphs:
    output:
        graphs=density.path("graphs.nc"),
    params:
        graphs=density.setting("graphs"),
    message:
        "Join points by epsilon-graphs, connected and in pieces"
    script:
        "../scripts/build_graphs.py"


rule measure_graph_convergence:
    output:
        points=density.path("point_convergence.csv"),
        nodes=density.path("node_convergence.csv"),
    params:
        convergence=density.setting("convergence"),
    message:
        "Measure how fast graph distances come to the true ones"
    script:
        "../scripts/measure_graph_convergence.py"


rule map_affinity:
    output:
        affinity=density.path("affinity.nc"),
    params:
        affinity=density.setting("affinity"),
    message:
        "Map the affinity of toy points to one of them"
    script:
        "../scripts/map_affinity.py"


rule cluster_toys:
    output:
        scores=density.path("clustering.csv"),
        table=density.table("generative_clustering.csv"),
    params:
        clustering=density.setting("clustering"),
    message:
        "Find the clusters of toy sets by Euclidean and by geodesic distances"
    script:
        "../scripts/cluster_toys.py"


rule embed_digits:
    output:
        pictures=density.path("embedding.nc"),
    params:
        digits=density.setting("digits"),
        split=density.split(settings.models),
    message:
        "Draw digits in the plane by geodesic distances"
    script:
        "../scripts/embed_digits.py"


rule interpolate_digits:
    input:
        **{name: density.model(file) for name, file in DIFFUSION_FILES.items()},
    output:
        paths=density.path("interpolation.nc"),
    params:
        digits=density.setting("digits"),
        split=density.split(settings.models),
    message:
        "Join digits by geodesics and ask the diffusion model how likely they are"
    script:
        "../scripts/interpolate_digits.py"


rule generative_geodesics:
    input:
        layout.generative_targets,
    message:
        "The geodesics of densities are complete"
