"""What importing loads, and that imports run one way only."""

import ast
import sys
from pathlib import Path

import pytest

import bnblind

SOURCE = Path(bnblind.__file__).parent
PIPELINE_ONLY = (
    *("pandas", "torchvision", "sklearn", "pyarrow", "safetensors", "snakemake", "dvc"),
    *("seaborn", "matplotlib", "papermill", "scipy", "yaml"),
)
NOT_MATHEMATICS = ("__init__", "__main__", "numerics")
# What each layer of the package must not import.
FORBIDDEN = {
    "mathematics": ("experiments", "figures", "pipeline"),
    "experiments": ("figures", "pipeline"),
    "figures": ("pipeline",),
}
MATHEMATICS = {
    path.relative_to(SOURCE).as_posix(): path
    for path in sorted((*SOURCE.glob("*.py"), *SOURCE.glob("norms/*.py")))
    if path.parent != SOURCE or path.stem not in NOT_MATHEMATICS
}


def layer(path: Path) -> str:
    if path == SOURCE / "__main__.py":
        return "review"
    if path.parent in (SOURCE, SOURCE / "norms"):
        return "mathematics"
    return path.relative_to(SOURCE).parts[0]


def imports(path: Path) -> set[str]:
    """Every module the file names in an import, wherever it stands; names as attributes too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {str(node.module), *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def files_of(name: str) -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if layer(path) == name]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_imports_run_one_way(name):
    assert files_of(name)
    for path in files_of(name):
        for module in imports(path):
            package, _, rest = module.partition(".")
            if package == "bnblind":
                assert rest.split(".")[0] not in FORBIDDEN[name], f"{path} imports {module}"


@pytest.mark.parametrize("name", MATHEMATICS)
def test_mathematics_needs_torch_alone(name):
    outside = {module.split(".")[0] for module in imports(MATHEMATICS[name])}
    shown = {"pandas", "matplotlib"}  # a probe's table and its pictures, where they are asked for
    allowed = {"bnblind", "torch"} | (shown if name.startswith("probe") else set())
    assert outside - sys.stdlib_module_names <= allowed


def test_importing_loads_nothing_and_using_loads_torch_only(run_python):
    program = f"""
import sys
import bnblind
assert "torch" not in sys.modules, "import bnblind loads torch"
import torch
y, sigma = bnblind.standardize(torch.randn(4, 3))
model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
target = torch.zeros(4, dtype=torch.long)
bnblind.split_head(model[1:], y, target, y[0], sigma=sigma).gram_x
bnblind.split_loss(bnblind.swap_norm(model, "bn", example_input=y), "0", y, target)
with bnblind.BlindnessProbe(model) as probe:
    model(y).sum().backward()
print(sorted(set({PIPELINE_ONLY!r}) & set(sys.modules)))
"""
    run = run_python("-c", program)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"


def test_nothing_numerical_is_loaded_before_the_pin(run_python):
    program = """
import sys
import bnblind.pipeline.__main__
print(sorted({"torch", "numpy", "pandas", "scipy"} & set(sys.modules)))
"""
    run = run_python("-c", program)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"


def test_public_names_are_there():
    assert all(hasattr(bnblind, name) for name in bnblind.__all__)
    assert set(bnblind.__all__) <= set(dir(bnblind))
    with pytest.raises(AttributeError, match="module 'bnblind' has no attribute 'batchnorm'"):
        bnblind.batchnorm  # noqa: B018
