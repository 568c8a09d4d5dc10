"""What a profile shows of others: the grids that they have published, as if they were its own.

Their tables lie in git below ``published/PROFILE`` and are taken over as they are; nothing of them
is computed. Imports no numerical library, since planning reads it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.pipeline.declaration import Config, Experiment
from bnblind.pipeline.paths import Paths


@dataclass(frozen=True)
class Shown:
    """All that a profile shows.

    Attributes:
        config: the profile, and in its sections the grids that others have published.
        adopted: section -> grid -> the profile that has published it.
        apart: what is not among these, since it has a page of its own: profile -> its settings.
    """

    config: Config
    adopted: Mapping[str, Mapping[str, str]]
    apart: Mapping[str, Config]

    def owner(self, section: str, grid: str) -> str:
        """The profile that has published a grid; empty if it is the profile's own."""
        return self.adopted.get(section, {}).get(grid, "")

    def marks(self, experiment: Experiment) -> dict[str, dict[str, Any]]:
        """What the experiment's page says of others' results: profile -> its ``grids``, none if the
        whole page is of it, and the ``machine`` that computed them.
        """
        grids: dict[str, list[str]] = {}
        if experiment.of_profile in self.apart:
            grids[experiment.of_profile] = []
        for grid, profile in self.adopted.get(experiment.name, {}).items():
            grids.setdefault(profile, []).append(grid)
        return {
            profile: {"grids": own, "machine": str(_read(profile, "machine", "processor"))}
            for profile, own in grids.items()
        }

    def view(self, experiment: Experiment, paths: Paths) -> tuple[Config, Paths]:
        """Of which configuration the experiment's page is, and where its tables lie."""
        profile = experiment.of_profile
        if profile in self.apart:
            return self.apart[profile], replace(paths, beside=profile)
        return self.config, paths

    def parameters(self, experiment: Experiment, paths: Paths) -> dict[str, Any]:
        """Those of the notebook of the experiment's page."""
        assert experiment.page is not None
        config, places = self.view(experiment, paths)
        return {
            "numerics": [self.config["numerics"], self.config["numeric_threads"]],
            **experiment.page_inputs(config, places),
            **experiment.page.parameters(config),
            "figures": paths.figures(),
        }


def _read(profile: str, file: str, key: str) -> Any:
    """An entry of one of the files that say how a profile was published."""
    path = Path(f"published/{profile}/{file}.json")
    try:
        return json.loads(path.read_bytes())[key]
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


def shown(config: Config, experiments: Collection[Experiment]) -> Shown:
    """The profile with what it ``shows``. Raises BadInput if a profile has published nothing of a
    section, two of them have a grid of the same name, or a section is missing that a profile's own
    page needs.
    """
    whole: dict[str, Any] = dict(config)
    adopted: dict[str, dict[str, str]] = {}
    apart: dict[str, Config] = {}
    pages = {experiment.of_profile: experiment for experiment in experiments}
    known = [experiment.name for experiment in experiments if experiment.of_grids]
    for profile, sections in config.get("shows", {}).items():
        settings: Config = _read(profile, "settings", "profile")
        if wrong := [name for name in sections if name not in known or name not in settings]:
            allowed = ", ".join(name for name in known if name in settings)
            raise BadInput(f"shows.{profile}: found {wrong[0]}; allowed: {allowed}")
        if profile in pages:
            if lacking := [name for name in pages[profile].needs if name not in sections]:
                raise BadInput(f"shows.{profile}: its page needs {', '.join(lacking)} as well")
            hidden = {*known} - {*sections}
            apart[profile] = {key: value for key, value in settings.items() if key not in hidden}
            continue
        for section in sections:
            used = {grid.get("dataset") for grid in settings[section].values()} - {None}
            if unknown := sorted(used - {*config["data"]}):
                raise BadInput(
                    f"shows.{profile}: its {section} is of the data set {unknown[0]}, which is not "
                    f"prepared here; allowed: those of `data`, {', '.join(sorted(config['data']))}"
                )
            there = whole.get(section, {})
            if twice := sorted({*there} & {*settings[section]}):
                raise BadInput(
                    f"{section}.{twice[0]}: the profile {profile}, which is shown, has published "
                    "a grid of this name; allowed: other names"
                )
            whole[section] = {**there, **settings[section]}
            adopted.setdefault(section, {}).update(dict.fromkeys(settings[section], profile))
    return Shown(whole, adopted, apart)
