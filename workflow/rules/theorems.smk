rule theorems:
    input:
        code=code_of("check_theorems"),
        norms=code_of_norms([*config["theorems"]["norms"], "bn"]),
    output:
        passing=kept(PATHS.table("theorems/passing")),
        errors=kept(PATHS.table("theorems/errors")),
        leak=kept(PATHS.table("theorems/leak")),
        metrics=kept(PATHS.metrics("theorems")),
    log:
        PATHS.log("theorems"),
    resources:
        mem_mb=megabytes("theorems"),
        runtime=minutes("theorems"),
    params:
        numerics=NUMERICS,
        failed=last_failure("theorems"),
        settings=settings_of("theorems"),
    shell:
        step(
            "check_theorems --settings {params.settings:q} --passing {output.passing} "
            "--errors {output.errors} --leak {output.leak} --metrics {output.metrics}"
        )
