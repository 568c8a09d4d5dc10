rule linear_signal:
    input:
        code=code_of("linear_signal"),
    output:
        table=update(at("data/results/linear_signal.parquet")),
    log:
        at("logs/linear_signal.log"),
    benchmark:
        at("logs/benchmarks/linear_signal.tsv")
    params:
        numerics=NUMERICS,
        settings=json.dumps(config["linear_signal"]),
    shell:
        step("linear_signal --settings {params.settings:q} --table {output.table}")


rule linear_signal_page:
    input:
        code=code_of_notebook("linear_signal"),
        notebook="notebooks/linear_signal.ipynb",
        table=rules.linear_signal.output.table,
    output:
        kept(*figure_files("linear_signal/displacement")),
        executed=update(at("reports/pages/linear_signal.ipynb")),
        page=update(at("reports/pages/linear_signal.html")),
    log:
        at("logs/linear_signal_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "table": input.table,
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )
