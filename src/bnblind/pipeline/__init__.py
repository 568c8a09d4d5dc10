"""The pipeline: what is computed (declarations, configuration), by which steps, into which files.

    python -m bnblind.pipeline STEP --numerics x86-64-v3 1 ...

runs a step; Snakemake's rules do nothing else.
"""
