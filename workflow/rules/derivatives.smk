rule derivatives:
    input:
        code=code_of("split_networks"),
        norms=norms_of_grid,
        prepared=prepared_of("classification"),
        weights=weights_of,
    output:
        terms=kept(PATHS.table("derivatives/{grid}-terms")),
        blocked=kept(PATHS.table("derivatives/{grid}-blocked")),
    log:
        PATHS.log("derivatives", "{grid}"),
    resources:
        mem_mb=megabytes("derivatives"),
        runtime=minutes("derivatives"),
    params:
        numerics=NUMERICS,
        failed=last_failure("derivatives", "{grid}"),
        probing=lambda wildcards: json.dumps(config["derivatives"][wildcards.grid]),
    shell:
        step(
            "split_networks --probing {params.probing:q} --prepared {input.prepared} "
            "--weights {input.weights} --terms {output.terms} --blocked {output.blocked}"
        )
