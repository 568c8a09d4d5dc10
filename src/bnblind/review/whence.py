"""Say where a file of a run came from: rule, command, code, configuration and inputs.

Rules, commands and inputs are those that Snakemake recorded when it made the file; hashes are of
the files as they lie here now.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput
from bnblind.review import add_profile
from bnblind.review.machine import commit

STEP = re.compile(r"python -m bnblind\.pipeline (?:.(?! > \S+\.log))+.")
CODE = ("src/", "notebooks/", "workflow/", "proofs/")
Node = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="below data/ or reports/ of the run")
    add_profile(parser)
    parser.add_argument("--json", action="store_true", help="everything, as JSON")


def recorded(summary: str) -> dict[str, dict[str, str]]:
    """What Snakemake's detailed summary says of each file."""
    head, *lines = (line.split("\t") for line in summary.splitlines())
    return {line[0]: dict(zip(head, line, strict=True)) for line in lines}


def _sha256(path: str) -> str | None:
    from bnblind.review.runs import hashes_of

    return hashes_of(Path(path))["sha256"] if Path(path).is_file() else None


def nodes(file: str, summary: Mapping[str, Mapping[str, str]]) -> dict[str, Node]:
    """The file and all that it was made from, each once: path -> how it was made."""
    found: dict[str, Node] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        made = summary.get(path, {})
        inputs = [name for name in made.get("input-file(s)", "-").split(",") if name != "-"]
        code = {name: _sha256(name) for name in inputs if name.startswith(CODE)}
        step = STEP.search(made.get("shellcmd", ""))
        found[path] = {
            "sha256": _sha256(path),
            **({"rule": made["rule"], "state": made["plan"]} if made else {}),
            **({"command": step[0]} if step else {}),
            **({"code": code} if code else {}),
            "inputs": [name for name in inputs if name not in code],
        }
        waiting += found[path]["inputs"]
    return found


def tree(file: str, found: Mapping[str, Node]) -> Iterator[str]:
    """The file and what it was made from, as indented lines; what was told is not told again."""
    told: set[str] = set()

    def lines(path: str, indent: str) -> Iterator[str]:
        node = found[path]
        line = f"{indent}{path}  sha256 {(node['sha256'] or 'missing')[:12]}"
        if "rule" in node:
            line += f", rule {node['rule']}, {len(node.get('code', []))} files of code"
        yield line + (", would be made again" if node.get("state") == "update pending" else "")
        if path not in told:
            told.add(path)
            for name in node["inputs"]:
                yield from lines(name, indent + "  ")

    yield from lines(file, "")


def run(args: argparse.Namespace) -> None:
    """Print the tree, or all as JSON."""
    from bnblind.review.workflow import read_profile, snakemake

    config, _, known = read_profile(args.configfile)
    summary = recorded(snakemake(args.configfile, "--detailed-summary", "--nolock"))
    file = args.file.as_posix()
    if file not in summary:
        near = get_close_matches(file, summary, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BadInput(f"{file} is no output of {args.configfile}{hint}")
    found, state = nodes(file, summary), commit()
    makers = [artifact for artifact in known if artifact.path in found]
    used = {a.experiment for a in makers} | {"data", "numerics", "numeric_threads"}
    keys = [key for key in config if key in used or any(a.rule == "about" for a in makers)]
    if args.json:
        settings = {key: config[key] for key in keys}
        told = {"file": file, **state, "configuration": settings, "files": found}
        print(json.dumps(told, indent=2))
        return
    print(*tree(file, found), sep="\n")
    print(f"command: {found[file].get('command', 'none recorded')}")
    print(f"configuration: {', '.join(keys)} of {args.configfile}")
    changed = {True: "", False: ", changed since", None: ", whether changed is unknown"}
    print(f"commit: {state['commit'] or 'unknown'}{changed[state['clean']]}")
