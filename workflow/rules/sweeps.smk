rule sweep:
    input:
        code=code_of("sweep"),
        prepared=lambda wildcards: prepared_of(wildcards.grid),
    output:
        results=update(at("data/results/{sweep}/{grid}/{norm}.parquet")),
    log:
        at("logs/{sweep}/{grid}/{norm}.log"),
    benchmark:
        at("logs/benchmarks/{sweep}/{grid}/{norm}.tsv")
    params:
        numerics=NUMERICS,
        cells=lambda wildcards: json.dumps(cells.sweep_cells(config, wildcards)),
        probed=lambda wildcards: config[wildcards.sweep][wildcards.grid].get(
            "batches", 0
        ),
    shell:
        step(
            "sweep --cells {params.cells:q} --probed {params.probed} "
            "--prepared {input.prepared} --checkpoint {log}.checkpoint "
            "--results {output.results}"
        )


rule collect_sweep:
    input:
        code=code_of("collect"),
        cells=lambda wildcards: [
            at(f"data/results/{wildcards.sweep}/{grid}/{norm}.parquet")
            for grid, settings in config[wildcards.sweep].items()
            for norm in settings["norms"]
        ],
    output:
        table=update(at("data/results/{sweep}.parquet")),
        metrics=update(at("data/results/{sweep}.json")),
    log:
        at("logs/collect-{sweep}.log"),
    params:
        numerics=NUMERICS,
    shell:
        step(
            "collect --cells {input.cells} --table {output.table} "
            "--metrics {output.metrics}"
        )
