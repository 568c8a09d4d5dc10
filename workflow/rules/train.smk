# Every experiment that trains: a job for each part of a grid, and one table of all their results.

for experiment in EXPERIMENTS.values():
    if training := experiment.training:
        trains, collects = experiment.trains, experiment.makes_tables

        if experiment.name in RUNNING:
            inputs, settings = training_of(experiment)

            rule:
                name:
                    trains
                input:
                    **inputs,
                output:
                    **{
                        file: kept(
                            PATHS.trained(file, experiment.name, "{grid}", "{job}")
                        )
                        for file in ("results", *training.keeps)
                    },
                log:
                    PATHS.log(trains, "{grid}", "{job}"),
                wildcard_constraints:
                    grid=own_grids(experiment),
                resources:
                    **asked(trains),
                params:
                    **shared(trains, "{grid}", "{job}"),
                    kind=training.kind,
                    cells=settings,
                shell:
                    step(
                        "train --kind {params.kind:q} --cells {params.cells:q} --checkpoint {log:q}.checkpoint"
                    )

        rule:
            name:
                collects
            input:
                **collected_of(experiment),
                code=code_of(
                    "collect",
                    f"bnblind.experiments.{training.kind}.cell",
                    f"bnblind.experiments.{training.cell.summary}.summary",
                ),
            output:
                **tables_of(experiment),
            log:
                PATHS.log(collects),
            localrule: True
            resources:
                **asked(collects),
            params:
                **shared(collects),
                kind=training.kind,
                profile=config["profile"],
            shell:
                step("collect --kind {params.kind:q} --profile {params.profile:q}")


for profile in config.get("shows", {}):
    adopts = adopting(profile)
    taken = {a.path: a.taken_from for a in ARTIFACTS if a.rule == adopts}

    rule:
        name:
            adopts
        input:
            code=code_of("adopt"),
            record=f"published/{profile}.json",
            found=[*taken.values()],
        output:
            taken=[kept(path) for path in taken],
        log:
            PATHS.log(adopts),
        localrule: True
        resources:
            **asked(adopts),
        params:
            **shared(adopts),
        shell:
            step("adopt")


WEIGHTS = [
    (RUNNING[artifact.experiment].training.kind, artifact.path)
    for artifact in ARTIFACTS
    if artifact.kind == "weights" and artifact.experiment
]


if WEIGHTS:

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
        localrule: True
        resources:
            **asked("list_weights"),
        params:
            **shared("list_weights"),
            kinds=[kind for kind, _ in WEIGHTS],
        shell:
            step("list_weights --kinds {params.kinds:q}")
