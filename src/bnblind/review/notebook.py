"""Open the notebook of a page live: with the page's parameters, computing as the pipeline does.

What is opened is a copy below runs/live, which stays until you delete it; its figures go there,
too, and the report stays as it is.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnblind.errors import BadInput, unknown
from bnblind.review import add_profile

LIVE = Path("runs/live")
LAB = "jupyter-lab"
START = """\
# The paths below are relative to the project's folder.
import os

os.chdir({folder!r})"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("page", metavar="NAME", help="of the page, such as purity")
    add_profile(parser)
    parser.add_argument(
        "--with",
        dest="program",
        default=LAB,
        help="what opens it (default: %(default)s); 'jupyter-execute --inplace' executes it",
    )


def write_copy(notebook: Path, copy: Path, parameters: Mapping[str, Any]) -> None:
    """The notebook with these parameters, to be executed from the present folder."""
    import nbformat
    import papermill

    live = papermill.execute_notebook(
        notebook, None, parameters, prepare_only=True, kernel_name="python3", progress_bar=False
    )
    start = START.format(folder=str(Path.cwd()))
    live.cells.insert(0, nbformat.v4.new_code_cell(start))
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(live, copy)


def run(args: argparse.Namespace) -> None:
    """Open it, and exit as the program does that opens it."""
    from bnblind.numerics import environment
    from bnblind.pipeline.adoption import shown
    from bnblind.pipeline.paths import Paths
    from bnblind.pipeline.steps.notebook import private_jupyter, source_of
    from bnblind.review.workflow import read_profile

    config, declared, _ = read_profile(args.configfile)
    whole, paths = shown(config, declared.values()), Paths(config["root"])
    pages = {name: e for name, e in declared.items() if e.page and e.runs_in(whole.config)}
    if args.page not in pages:
        raise unknown("page", args.page, pages)
    if not (executed := Path(paths.notebook(args.page))).is_file():
        raise BadInput(f"there is no {executed}; `make reproduce` makes it")
    program = shlex.split(args.program)
    if shutil.which(program[0]) is None:
        hint = f"`pip install jupyterlab` gets {LAB}, into this environment or another"
        raise BadInput(f"there is no program {program[0]}; {hint}")
    parameters = whole.parameters(pages[args.page], paths)
    copy = LIVE / config["profile"] / executed.name
    if not copy.exists():
        figures = {"figures": str(copy.parent / "figures")}
        write_copy(Path("notebooks") / executed.name, copy, parameters | figures)
    print(f"{args.program} opens {copy}; delete it to begin anew", flush=True)
    variables = environment(*parameters["numerics"]) | {"PYTHONPATH": str(Path("src").resolve())}
    signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl-C is for the program
    with private_jupyter(source_of(pages[args.page].makes_page, parameters)):
        ended = subprocess.run([*program, copy], env=os.environ | variables)
    raise SystemExit(ended.returncode)
