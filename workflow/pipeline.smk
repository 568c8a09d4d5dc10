# The pipeline: data -> training under each norm -> theorem check -> notebooks -> report.
# A profile (config/*.yaml) is complete in itself; the default is read only when none is given,
# because Snakemake would merge the two.

import sys
from pathlib import Path

from snakemake.utils import min_version

# The code of this tree, not of the tree that happens to be installed.
sys.path.insert(0, "src")

from bnblind.pipeline import cells, schema
from bnblind.pipeline.config import check_config

min_version("9.27")

if not workflow.configfiles:
    # Where the default is no YAML, this names the place; Snakemake would not name the file.
    schema.read_yaml(Path("config/config.yaml"))

    configfile: "config/config.yaml"


# Used only with --software-deployment-method; the environment is requirements.lock.
container: "docker://python:3.11-bookworm"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/flows.smk"
include: "rules/train.smk"
include: "rules/sweeps.smk"
include: "rules/linear_signal.smk"
include: "rules/features.smk"
include: "rules/analysis.smk"
include: "rules/report.smk"
include: "rules/proofs.smk"


localrules:
    all,
    prepared,
    trained,
    analysed,
    reported,


def deliverables():
    targets = (rules.prepared, rules.trained, rules.analysed, rules.reported)
    return [target.input for target in targets]
