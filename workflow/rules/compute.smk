# Every experiment with a step of its own: one job, or one for each grid of its section.

for experiment in EXPERIMENTS.values():
    if computing := experiment.computing:
        grid = ["{grid}"] if computing.of_networks else []

        rule:
            name:
                experiment.name
            input:
                **(
                    {"prepared": prepared_of_grid, "weights": weights_of_grid}
                    if computing.of_networks
                    else {}
                ),
                code=code_of(computing.step),
                norms=norms_of(experiment),
            output:
                **{
                    option: kept(PATHS.table(table))
                    for option, table in experiment.tables.items()
                },
                **(
                    {"metrics": kept(PATHS.metrics(experiment.name))}
                    if experiment.metrics
                    else {}
                ),
            log:
                PATHS.log(experiment.name, *grid),
            resources:
                **asked(experiment.name),
            params:
                **shared(experiment.name, *grid),
                step=computing.step,
                settings=settings_of(experiment),
            shell:
                step("{params.step} --settings {params.settings:q}")
