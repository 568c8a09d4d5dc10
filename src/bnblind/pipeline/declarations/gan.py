"""A discriminator that is fed with real and generated images apart, or mixed."""

from collections.abc import Iterator
from typing import Any

from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.relations import unprepared
from bnblind.pipeline.declaration import Config, Experiment, Page, Training
from bnblind.pipeline.paths import Paths

SECTION = keys.grids(
    "generative adversarial networks of fully connected layers; the norm is the discriminator's. "
    "Every combination of norm and feed is a cell, trained once per seed, one job per norm",
    {
        "dataset": keys.name("dataset", "one of `data`"),
        "norms": keys.names("norm", "norm variants at the discriminator's hidden layers"),
        "batchings": keys.names("batching", "of the real images, as in `classification`"),
        "feeds": keys.names(
            "feed", "real and generated images in batches of their own, `apart`, or `mixed`"
        ),
        "width": keys.integer("hidden units"),
        "latent": keys.integer("entries of the generator's input"),
        "lr": keys.positive("step size"),
        "optimizer": keys.optimizer(),
        "batch_size": keys.integer("real images per batch, and as many generated ones", 2),
        "epochs": keys.integer("passes over the training images"),
        "interval": keys.integer("passes from one measurement to the next"),
        "samples": keys.integer("images to draw"),
        "device": keys.device(),
        "seeds": keys.seeds("of initialization, batches and the generator's inputs"),
    },
)


def contradictions(config: Config) -> Iterator[str]:
    for own, grid in config["gan"].items():
        yield from unprepared(f"gan.{own}", grid, config)
        if own != grid["dataset"]:
            yield f"gan: found the grid {own}; allowed: one for each data set, called as that"


TRAINING = Training(
    kind="gans",
    grids=lambda config: {
        name: {**grid, "may_diverge": True} for name, grid in config["gan"].items()
    },
    keeps=("samples",),
)


def drawn(config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    for dataset in dict.fromkeys(cell.dataset for cell in TRAINING.all_cells(config)):
        for figure in ("distances", "blocked", "samples"):
            yield figure, {"dataset": dataset}


def inputs(config: Config, paths: Paths) -> dict[str, Any]:
    samples: dict[str, list[str]] = {}
    for grid, jobs in TRAINING.jobs(config).items():
        for job, cells in jobs.items():
            samples.setdefault(cells[0].dataset, []).append(
                paths.trained("samples", "gan", grid, job)
            )
    return {"results": paths.table("gan"), "samples": samples}


EXPERIMENT = Experiment(
    name="gan",
    title="Discriminators that see real and generated images apart",
    order=76,
    section=SECTION,
    contradictions=contradictions,
    training=TRAINING,
    page=Page(
        figures={name: f"{{dataset}}-{name}" for name in ("distances", "blocked", "samples")},
        captions={
            "distances": "Fréchet distance of generated from test images in a classifier's "
            "features (lower is better; dotted: training images), for each norm of the "
            "discriminator, with real and generated images in batches of their own (filled) or "
            "mixed (open). Images apart cost BN more than LN.",
            "blocked": "share of the squared gradient of the discriminator's loss that its last "
            "norm blocks, along training. Mixed images make BN block little.",
            "samples": "images drawn after training, first seed: what the distances look like.",
        },
        drawn=drawn,
        supplement=("blocked", "samples"),
        inputs=inputs,
        sentence="How far a GAN's images end from real ones, by the discriminator's norm, with "
        "real and generated images in batches of their own or mixed.",
    ),
)
