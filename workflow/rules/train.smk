# Every experiment that trains: a job for each part of a grid, and one table of all their results.


def cells_of(experiment, wildcards):
    cells = experiment.training.cells(config)[wildcards.grid]
    return [cell for cell in cells if cell.job == wildcards.job]


def trained_code(experiment):
    """The trainer of the experiment's kind, and the norm of the job's cells."""
    trainer = f"bnblind.experiments.{experiment.training.kind}.kind"
    code = code_of("train", trainer)

    def of_job(wildcards):
        norms = {cell.norm for cell in cells_of(experiment, wildcards)}
        return sorted({*code, *code_of_norms(norms)})

    return of_job


def cell_settings(experiment):
    return lambda wildcards: json.dumps(
        [cell.settings() for cell in cells_of(experiment, wildcards)]
    )


def output_options(wildcards, output):
    return " ".join(f"--{name} {path}" for name, path in output.items())


def prepared_of_cells(experiment):
    return lambda wildcards: PATHS.prepared(cells_of(experiment, wildcards)[0].dataset)


def results_of(experiment):
    trains = f"train_{experiment.name}"
    return [a.path for a in ARTIFACTS if a.rule == trains and a.kind == "table"]


for experiment in EXPERIMENTS.values():
    if training := experiment.training:
        trains, collects = f"train_{experiment.name}", f"collect_{experiment.name}"

        rule:
            name:
                trains
            input:
                code=trained_code(experiment),
                prepared=prepared_of_cells(experiment),
            output:
                **{
                    file: kept(PATHS.trained(file, experiment.name, "{grid}", "{job}"))
                    for file in ("results", *training.keeps)
                },
            log:
                PATHS.log(trains, "{grid}", "{job}"),
            params:
                numerics=NUMERICS,
                failed=last_failure(trains, "{grid}", "{job}"),
                kind=training.kind,
                cells=cell_settings(experiment),
                kept=output_options,
            resources:
                mem_mb=megabytes(trains),
                runtime=minutes(trains),
            shell:
                step(
                    "train --kind {params.kind} --cells {params.cells:q} "
                    "--prepared {input.prepared} --checkpoint {log}.checkpoint {params.kept}"
                )

        rule:
            name:
                collects
            input:
                code=code_of(
                    "collect", f"bnblind.experiments.{training.kind}.summary"
                ),
                cells=results_of(experiment),
            output:
                table=kept(PATHS.table(experiment.name)),
                metrics=kept(PATHS.metrics(experiment.name)),
            log:
                PATHS.log(collects),
            params:
                numerics=NUMERICS,
                failed=last_failure(collects),
                kind=training.kind,
            resources:
                mem_mb=megabytes(collects),
                runtime=minutes(collects),
            shell:
                step(
                    "collect --kind {params.kind} --cells {input.cells} "
                    "--table {output.table} --metrics {output.metrics}"
                )


WEIGHTS = [
    (EXPERIMENTS[artifact.experiment].training.kind, artifact.path)
    for artifact in ARTIFACTS
    if artifact.kind == "weights" and artifact.experiment
]


rule list_weights:
    input:
        code=code_of(
            "list_weights",
            *sorted({f"bnblind.experiments.{kind}.cell" for kind, _ in WEIGHTS}),
        ),
        weights=[path for _, path in WEIGHTS],
    output:
        listing=kept(PATHS.listing()),
    log:
        PATHS.log("list_weights"),
    params:
        numerics=NUMERICS,
        failed=last_failure("list_weights"),
        kinds=[kind for kind, _ in WEIGHTS],
    resources:
        mem_mb=megabytes("list_weights"),
        runtime=minutes("list_weights"),
    shell:
        step(
            "list_weights --kinds {params.kinds} --weights {input.weights} "
            "--listing {output.listing}"
        )
