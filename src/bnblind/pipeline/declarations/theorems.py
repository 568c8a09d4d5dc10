"""T1 to T4 and their cause, on synthetic features."""

from bnblind.pipeline.configuration.keys import (
    integer,
    mapping,
    names,
    number,
    positive,
    seeds,
    several,
)
from bnblind.pipeline.declaration import Experiment, Page, Table

SECTION = mapping(
    "the check of T1 to T4 on synthetic features; every combination is a case",
    {
        "norms": names("norm", "norm variants, see `src/bnblind/norms`"),
        "losses": names(
            "shared_loss",
            "losses of the normalized features, see `src/bnblind/experiments/synthetic.py`",
        ),
        "points": names("point", "where to expand: `zero`, `mean` (of the batch), `random`"),
        "batch_sizes": several(integer("samples per batch", 2)),
        "dims": several(
            integer(
                "features per sample (`in` sees them as channels of 8 positions)", 8, multipleOf=8
            )
        ),
        "eps": several(number("added to the variance", minimum=0)),
        "seeds": seeds("of features and losses"),
        "leak": mapping(
            "T2's leak, channel by channel",
            {
                "channels": integer("channels, standard deviations from 1e-4 to 10", 2),
                "batch_size": integer("samples per batch", 2),
                "eps": several(positive("added to the variance")),
            },
        ),
    },
)

EXPERIMENT = Experiment(
    name="theorems",
    title="What passes each norm",
    order=10,
    section=SECTION,
    tables=(
        Table(name="theorems/passing", rows="the share of one term's gradient that passes, a case"),
        Table(name="theorems/errors", rows="autograd's deviation from one closed form, a case"),
        Table(name="theorems/leak", rows="T2's leak in one channel, measured and stated"),
    ),
    metrics=True,
    page=Page(
        figures={"passing": "passing", "points": "points", "leak": "leak"},
        drawn=lambda config: [("passing", {}), ("points", {}), ("leak", {})],
        inputs=lambda config, paths: {
            name: paths.table(f"theorems/{name}") for name in ("passing", "errors", "leak")
        },
        shown=("theorems/passing",),
        sentence="Share of each Taylor term's gradient that passes each norm: 1 where all passes, "
        "about 1e-16 (rounding) where nothing does. Float64, synthetic features, losses shared by "
        "all samples of the batch.",
    ),
)
