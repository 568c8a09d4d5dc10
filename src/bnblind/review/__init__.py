"""The reviewer's tools: they read what the pipeline made and judge it."""

import argparse
from pathlib import Path

DEFAULT = Path("config/config.yaml")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The option that most commands have; here, since it must load nothing."""
    parser.add_argument(
        "--configfile", type=Path, default=DEFAULT, help="the profile (default: %(default)s)"
    )
