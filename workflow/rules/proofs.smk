# Not part of `all`: it needs Coq. The ledger reads the published record, proofs/record.json, and
# says of a theorem that it is proved only if that record is of the present sources.
rule proofs:
    input:
        sources=[*PROOFS, *PROOFS_CHECK],
    output:
        record=update("data/results/proofs.json"),
    log:
        "logs/proofs.log",
    resources:
        **asked("proofs"),
    shell:
        "python proofs/check.py --record {output.record} > {log} 2>&1"
        " || {{ cat {log} >&2; exit 1; }}"
