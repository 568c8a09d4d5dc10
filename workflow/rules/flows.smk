rule train_flow:
    input:
        code=code_of("train_flow"),
        prepared=lambda wildcards: prepared_for_flow(wildcards.grid),
    output:
        weights=update(at(FLOW_MODEL_FILE)),
        results=update(at(FLOW_RESULT_FILE)),
        samples=update(at(FLOW_SAMPLES_FILE)),
    log:
        at("logs/train_flow/{grid}/{pair}-{norm}-{coupling_norm}-{batching}.log"),
    benchmark:
        at(
            "logs/benchmarks/train_flow/{grid}/{pair}-{norm}-{coupling_norm}-{batching}.tsv"
        )
    params:
        numerics=NUMERICS,
        cell=lambda wildcards: json.dumps(
            configuration.flow_cell_settings(config, wildcards, DATASETS)
        ),
    shell:
        step(
            "train_flow --cell {params.cell:q} --prepared {input.prepared} "
            "--checkpoint {log}.checkpoint --weights {output.weights} "
            "--results {output.results} --samples {output.samples}"
        )


rule collect_flows:
    input:
        code=code_of("collect_flows"),
        cells=[at(FLOW_RESULT_FILE.format(**cell)) for cell in FLOW_CELLS],
    output:
        table=update(at("data/results/flows.parquet")),
        metrics=update(at("data/results/flows.json")),
    log:
        at("logs/collect_flows.log"),
    params:
        numerics=NUMERICS,
    shell:
        step(
            "collect_flows --cells {input.cells} --table {output.table} "
            "--metrics {output.metrics}"
        )


rule flow_page:
    input:
        code=code_of_notebook("flow"),
        notebook="notebooks/flow.ipynb",
        results=rules.collect_flows.output.table,
        samples=[at(FLOW_SAMPLES_FILE.format(**cell)) for cell in FLOW_CELLS],
        prepared=expand(
            at("data/prepared/{dataset}.safetensors"), dataset=flow_datasets()
        ),
    output:
        kept(*figure_files(*flow_figures())),
        executed=update(at("reports/pages/flow.ipynb")),
        page=update(at("reports/pages/flow.html")),
    log:
        at("logs/flow_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "results": input.results,
                "samples": list(input.samples),
                "prepared": dict(zip(flow_datasets(), input.prepared)),
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )
