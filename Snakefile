# The entry point of a bare `snakemake`. It names its own default target, because Snakemake drops
# that of an included file.
include: "workflow/Snakefile"


rule report:
    default_target: True
    input:
        rules.all.input,
    localrule: True
