# Not part of `all`: it needs Coq. The ledger reads the published record, proofs/record.json, and
# says of a theorem that it is proved only if that record is of the present sources.
rule proofs:
    input:
        sources=[*PROOFS, *PROOFS_CHECK],
    output:
        record=update(PROOFS_RECORD),
    log:
        Paths(".").log("proofs"),
    resources:  # measured: 220 CPU seconds, 500 MB for one file
        mem_mb=2000,
        runtime=60,
    params:
        failed=failure(Paths(".").log("proofs")),
    shell:
        logged("python proofs/check.py --record {output.record:q}")
