"""Step: execute a parameterized notebook, the same bytes every time."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import papermill
from nbformat import NotebookNode
from traitlets.config import Config

from bnblind.errors import BadInput
from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.formats.publishing import SOURCE, source_text
from bnblind.pipeline.options import parse


@contextmanager
def private_jupyter(source: str) -> Iterator[None]:
    """Jupyter, IPython and matplotlib without the user's settings, and our own interpreter, whose
    figures say that they were made from ``source``.
    """
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        # A cell's error comes back as a message; what the kernel logs of its end says nothing.
        quiet = "--log-level=CRITICAL"
        command = [sys.executable, "-m", "ipykernel_launcher", quiet, "-f", "{connection_file}"]
        spec.write_text(
            json.dumps({"argv": command, "display_name": "Python 3", "language": "python"})
        )
        # Apart from the kernel, which Jupyter would take from IPython's folder into the user's.
        names = ("JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
        own = {"JUPYTER_PATH": folder, **dict.fromkeys(names, f"{folder}/settings")}
        with patch.dict(os.environ, {**own, SOURCE: source}):
            yield


def _short_folder() -> str:
    """The folder for temporary files, if the path of a Unix socket, 100 bytes or so, fits."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= 70 else "/tmp"


def source_of(rule: str, parameters: Mapping[str, Any]) -> str:
    """What the figures of a notebook are made from: parameters, and the files that they name."""
    inputs = {name: sorted(_files_in(value)) for name, value in parameters.items()}
    plain = {n: value for n, value in parameters.items() if n != "figures" and not inputs[n]}
    return source_text(rule, plain, [path for paths in inputs.values() for path in paths])


def _files_in(value: Any) -> Iterator[Path]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files_in(item)
    elif isinstance(value, str) and Path(value).is_file():
        yield Path(value)


def execute(notebook: Path, parameters: dict[str, Any], source: str = "") -> NotebookNode:
    """The executed notebook; ``source`` is what its figures say they were made from. Raises
    BadInput if the parameters are not exactly the notebook's, or a cell failed (its traceback).
    """
    if not notebook.is_file():
        raise BadInput(f"there is no notebook {notebook}")
    allowed = set(papermill.inspect_notebook(notebook))
    if set(parameters) != allowed:
        raise BadInput(
            f"{notebook} needs exactly the parameters {', '.join(sorted(allowed))}; "
            f"found {', '.join(sorted(parameters)) or 'none'}"
        )
    with private_jupyter(source), tempfile.TemporaryDirectory(dir=_short_folder()) as folder:
        # Sockets in a folder: a free port may be another kernel's before ours has bound it.
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        try:
            return papermill.execute_notebook(
                notebook,
                Path(folder) / notebook.name,
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                config=Config(KernelManager=sockets),
            )
        except papermill.PapermillExecutionError as error:
            own = error.ename in ("OSError", "BadInput")  # of ours, whose text says all
            raise BadInput(f"{notebook} failed: {error.evalue if own else error}") from error


def _normalized_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Without stderr and without plain text beside a richer form; split streams joined."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
            continue
        if "data" in output and len(output.data) > 1:
            output.data.pop("text/plain", None)
        kept.append(output)
    return kept


def normalize(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs from run to run: times, random ids, versions, stream boundaries."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.get("tags", [])})
        if cell.cell_type == "code":
            cell.outputs = _normalized_outputs(cell.outputs)
    return notebook


def main(argv: list[str]) -> None:
    args = parse(__name__, argv, word="rule", settings="parameters", file="notebook executed")
    source = source_of(args.rule, args.parameters)
    executed = normalize(execute(args.notebook, args.parameters, source))
    publish({args.executed: nbformat.writes(executed).encode()})
    print(f"{args.executed}: {len(executed.cells)} cells")
