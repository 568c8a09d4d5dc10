"""Where the claims hold, and where they break: what the other experiments found, side by side."""

from typing import Any

from bnblind.pipeline.artifacts import Paths
from bnblind.pipeline.configuration.schema import datasets
from bnblind.pipeline.declaration import Config, Experiment, Page


def inputs(config: Config, paths: Paths) -> dict[str, Any]:
    return {
        "terms": [paths.table(f"derivatives/{grid}-terms") for grid in config["derivatives"]],
        "results": paths.table("classification"),
        "rates": paths.table("rates"),
        "flows": paths.table("flows"),
    }


EXPERIMENT = Experiment(
    name="scope",
    title="Where the claims hold, and where they break",
    order=90,
    page=Page(
        figures={"erasure": "erasure"},
        captions={
            "erasure": "Network head after label-pure batches, a point per seed; norms in order of "
            "the share of the first-order term that passes them. Whether accuracy rises with it, "
            "and whether it is enough.",
        },
        drawn=lambda config: [("erasure", {})],
        inputs=inputs,
        parameters=lambda config: {
            "classes": max(datasets()[name]["classes"] for name in config["data"])
        },
    ),
)
