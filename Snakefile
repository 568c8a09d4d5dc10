# The entry point of a bare `snakemake`. It names its own default target, because Snakemake drops
# that of an included file.
include: "workflow/pipeline.smk"


rule all:
    default_target: True
    input:
        deliverables(),
