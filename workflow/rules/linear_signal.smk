rule linear_signal:
    input:
        code=code_of("train_first_order_task"),
        norms=code_of_norms(config["linear_signal"]["norms"]),
    output:
        table=kept(PATHS.table("linear_signal")),
    log:
        PATHS.log("linear_signal"),
    resources:
        mem_mb=megabytes("linear_signal"),
        runtime=minutes("linear_signal"),
    params:
        numerics=NUMERICS,
        failed=last_failure("linear_signal"),
        settings=settings_of("linear_signal"),
    shell:
        step(
            "train_first_order_task --settings {params.settings:q} --table {output.table}"
        )
