rule features:
    input:
        code=code_of("features"),
        prepared=lambda wildcards: prepared_of(wildcards.grid),
        weights=lambda wildcards: weights_of(wildcards.grid),
    output:
        measures=update(at("data/results/features/{grid}-measures.parquet")),
        plane=update(at("data/results/features/{grid}-plane.parquet")),
    log:
        at("logs/features/{grid}.log"),
    benchmark:
        at("logs/benchmarks/features/{grid}.tsv")
    params:
        numerics=NUMERICS,
        tsne=lambda wildcards: json.dumps(config["features"][wildcards.grid]["tsne"]),
    shell:
        step(
            "features --tsne {params.tsne:q} --prepared {input.prepared} "
            "--weights {input.weights} --measures {output.measures} --plane {output.plane}"
        )


rule features_page:
    input:
        code=code_of_notebook("features"),
        notebook="notebooks/features.ipynb",
        measures=expand(rules.features.output.measures, grid=config["features"]),
        planes=expand(rules.features.output.plane, grid=config["features"]),
    output:
        kept(*figure_files(*features_figures())),
        executed=update(at("reports/pages/features.ipynb")),
        page=update(at("reports/pages/features.html")),
    log:
        at("logs/features_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "measures": dict(zip(config["features"], input.measures)),
                "planes": dict(zip(config["features"], input.planes)),
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )
