rule train_flow:
    input:
        code=code_of("train_flow"),
        prepared=lambda wildcards: prepared_for_flow(wildcards.grid),
    output:
        weights=update(at(FLOW_MODEL_FILE)),
        results=update(at(FLOW_RESULT_FILE)),
        samples=update(at(FLOW_SAMPLES_FILE)),
    log:
        at("logs/train_flow/{grid}/{norm}-{coupling_norm}.log"),
    benchmark:
        at("logs/benchmarks/train_flow/{grid}/{norm}-{coupling_norm}.tsv")
    params:
        numerics=NUMERICS,
        cells=lambda wildcards: json.dumps(
            cells.flow_cells(config, wildcards, DATASETS)
        ),
    shell:
        step(
            "train_flow --cells {params.cells:q} --prepared {input.prepared} "
            "--checkpoint {log}.checkpoint --weights {output.weights} "
            "--results {output.results} --samples {output.samples}"
        )


rule collect_flows:
    input:
        code=code_of("collect_flows"),
        cells=[at(FLOW_RESULT_FILE.format(**job)) for job in FLOW_JOBS],
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
        samples=[at(FLOW_SAMPLES_FILE.format(**job)) for job in FLOW_JOBS],
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
