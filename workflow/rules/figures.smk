"""Draw every figure of the registry."""

for drawing in drawings(layout):

    rule:
        name:
            f"draw_{drawing.figure.name}"
        input:
            **drawing.input,
        output:
            svg=report(
                f"{drawing.path}.svg",
                caption=caption(drawing, layout, sys.argv),
                category=drawing.category,
                labels={"figure": drawing.figure.label},
            ),
            png=f"{drawing.path}.png",
            csv=f"{drawing.path}.csv",
        resources:
            mem_mb=drawing.figure.mem_mb,
            runtime=drawing.figure.runtime,
        params:
            **drawing.params,
            figure=drawing.figure.name,
            code=layout.code(drawing.script, drawing.modules),
            # Named by a param: what stands under script is found when a job runs, and the loop has ended then.
            drawn_by=drawing.script,
        message:
            f"Draw {drawing.figure.name} of {drawing.of}"
        script:
            "../scripts/{params.drawn_by}"
