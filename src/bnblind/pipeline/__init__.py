"""The pipeline's steps: one module a rule, reading and writing files.

    python -m bnblind.pipeline STEP --numerics portable 1 ...

runs a step; Snakemake's rules do nothing else.
"""
