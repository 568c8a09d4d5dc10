# Every experiment with a step of its own: one job, or one for each grid of its section.

for experiment in RUNNING.values():
    if computing := experiment.computing:
        grid = ["{grid}"] if computing.of_networks else []
        inputs, settings, checkpoint = computing_of(experiment)

        rule:
            name:
                experiment.makes_tables
            input:
                **inputs,
            output:
                **tables_of(experiment),
            log:
                PATHS.log(experiment.makes_tables, *grid),
            wildcard_constraints:
                grid=own_grids(experiment),
            resources:
                **asked(experiment.makes_tables),
            params:
                **shared(experiment.makes_tables, *grid),
                step=computing.step,
                settings=settings,
                checkpoint=checkpoint,
            shell:
                step(
                    "{params.step:q} --settings {params.settings:q} {params.checkpoint}"
                )
