"""The scripts that check the proofs; they are no package, and import each other by name."""

import importlib
import sys

from tests.conftest import ROOT

FOLDER = ROOT / "proofs"
sys.path.insert(0, str(FOLDER))
coq, mutations, sources, check = map(
    importlib.import_module, ("coq", "mutations", "sources", "check")
)
