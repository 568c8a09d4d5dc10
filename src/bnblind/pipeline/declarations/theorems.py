"""T1 to T4 and their cause, on synthetic features."""

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.declaration import Computing, Experiment, Page

SECTION = keys.mapping(
    "the check of T1 to T4 on synthetic features; every combination is a case",
    {
        "norms": keys.names("norm", "norm variants, see `src/bnblind/norms`"),
        "losses": keys.names(
            "shared_loss",
            "losses of the normalized features, see `src/bnblind/experiments/synthetic.py`",
        ),
        "points": keys.names("point", "where to expand: `zero`, `mean` (of the batch), `random`"),
        "batch_sizes": keys.several(keys.integer("samples per batch", 2)),
        "dims": keys.several(
            keys.integer(
                "features per sample (`in` sees them as channels of 8 positions)", 8, multipleOf=8
            )
        ),
        "eps": keys.several(keys.number("added to the variance", minimum=0)),
        "seeds": keys.seeds("of features and losses"),
        "hessians": keys.mapping(
            "what passes BN of random Hessians",
            {
                "batch_sizes": keys.several(keys.integer("samples per batch", 3)),
                "dims": keys.several(keys.integer("features per sample", 2)),
                "seeds": keys.seeds("of features"),
            },
        ),
        "leak": keys.mapping(
            "T2's leak, channel by channel",
            {
                "channels": keys.integer("channels, standard deviations from 1e-4 to 10", 2),
                "batch_size": keys.integer("samples per batch", 2),
                "eps": keys.several(keys.positive("added to the variance")),
            },
        ),
    },
)

EXPERIMENT = Experiment(
    name="theorems",
    title="What passes each norm",
    order=10,
    section=SECTION,
    tables={name: f"theorems/{name}" for name in ("passing", "errors", "leak", "hessians")},
    computing=Computing(
        "check_theorems", norms=lambda config: ["bn", *config["theorems"]["norms"]]
    ),
    metrics=True,
    page=Page(
        captions={
            "terms": "What becomes of each Taylor term's gradient at each norm, whatever the loss: "
            "the smallest and the largest share that passes, at the largest eps, y0 = 0. Blocked: "
            "at most 10⁻¹² of its length passes; leaks: at most 0.01; passes: all of it. BN blocks "
            "the first order, and the diagonal but for a leak; no other norm blocks both.",
            "hessians": "What passes BN of the second-order terms if the entries of the Hessian "
            "are random and uncorrelated, for batches of n samples and D features. Most of the "
            "second order passes then; with independent features, the more the larger n and D.",
            "passing": "The same loss by loss and by eps. The categories do not depend on the "
            "loss; eps > 0 makes the diagonal leak.",
            "points": "The same at eps = 0 for three expansion points, over all losses. BN blocks "
            "the first-order term and the diagonal at each.",
            "closed_forms": "Autograd's gradient against the closed form of each theorem: a "
            "point per case. They agree to rounding.",
            "leak": "Leak of the Hessian's diagonal, measured channel by channel, and the curve "
            "that T2 states. It is small unless the channel's variance is near eps.",
        },
        supplement=("passing", "points", "closed_forms", "leak"),
        sentence="The share of each Taylor term's gradient that passes each norm (smallest to "
        "largest), on synthetic features with losses that all samples of a batch share. BN blocks "
        "the first order, and the diagonal but for what eps leaks.",
    ),
)
