rule features:
    input:
        code=code_of("measure_features"),
        norms=norms_of_grid,
        prepared=prepared_of("classification"),
        weights=weights_of,
    output:
        measures=kept(PATHS.table("features/{grid}-measures")),
        plane=kept(PATHS.table("features/{grid}-plane")),
    log:
        PATHS.log("features", "{grid}"),
    resources:
        mem_mb=megabytes("features"),
        runtime=minutes("features"),
    params:
        numerics=NUMERICS,
        failed=last_failure("features", "{grid}"),
        tsne=lambda wildcards: json.dumps(config["features"][wildcards.grid]["tsne"]),
    shell:
        step(
            "measure_features --tsne {params.tsne:q} --prepared {input.prepared} "
            "--weights {input.weights} --measures {output.measures} --plane {output.plane}"
        )
