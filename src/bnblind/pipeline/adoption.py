"""What a profile shows of others: the grids that they have published, as if they were its own.

Their tables lie in git below ``published/PROFILE`` and are taken over as they are; nothing of them
is computed. Imports no numerical library, since planning reads it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.declaration import Config, Experiment


@dataclass(frozen=True)
class Shown:
    """All that a profile shows.

    Attributes:
        config: the profile, and in its sections the grids that others have published.
        adopted: section -> grid -> the profile that has published it.
    """

    config: Config
    adopted: Mapping[str, Mapping[str, str]]

    def owner(self, section: str, grid: str) -> str:
        """The profile that has published a grid; empty if it is the profile's own."""
        return self.adopted.get(section, {}).get(grid, "")

    def by_profile(self, section: str) -> dict[str, list[str]]:
        """The grids of a section that are others', by the profile that has published them."""
        found: dict[str, list[str]] = {}
        for grid, profile in self.adopted.get(section, {}).items():
            found.setdefault(profile, []).append(grid)
        return found


def _published(profile: str) -> Config:
    """The settings with which a profile was published."""
    path = Path(f"published/{profile}/settings.json")
    try:
        settings: Config = json.loads(path.read_bytes())["profile"]
    except (FileNotFoundError, NotADirectoryError):
        known = sorted(found.parent.name for found in Path("published").glob("*/settings.json"))
        raise BadInput(
            f"shows: the profile {profile} has published nothing; allowed: {', '.join(known)}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} does not say what was published: {error!r}; `git restore {path.parent}` "
            "brings it back"
        ) from error
    return settings


def shown(config: Config, experiments: Iterable[Experiment]) -> Shown:
    """The profile with what it ``shows``.

    Raises:
        BadInput: a profile has published nothing of a section, or two of them have a grid of the
            same name.
    """
    whole: dict[str, Any] = dict(config)
    adopted: dict[str, dict[str, str]] = {}
    known = [experiment.name for experiment in experiments if experiment.of_grids]
    for profile, sections in config.get("shows", {}).items():
        settings = _published(profile)
        whole["data"] = {**settings["data"], **whole["data"]}
        for section in sections:
            if section not in known or section not in settings:
                allowed = ", ".join(name for name in known if name in settings)
                raise BadInput(f"shows.{profile}: found {section}; allowed: {allowed}")
            there = whole.get(section, {})
            if twice := sorted({*there} & {*settings[section]}):
                raise BadInput(
                    f"{section}.{twice[0]}: the profile {profile}, which is shown, has published "
                    "a grid of this name; allowed: other names"
                )
            whole[section] = {**there, **settings[section]}
            adopted.setdefault(section, {}).update(dict.fromkeys(settings[section], profile))
    return Shown(whole, adopted)
