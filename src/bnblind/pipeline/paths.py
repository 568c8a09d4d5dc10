"""Where every file of a profile lies.

Each path is written here once. Rules ask with wildcards in braces for values, all others with
values.
"""

from dataclasses import dataclass

FIGURE_FORMATS = ("svg", "pdf", "png", "csv")


@dataclass(frozen=True)
class Paths:
    """Where things lie, below the profile's ``root``; the tables ``beside`` its own are another
    profile's, which has a page of its own.
    """

    root: str
    beside: str = ""

    def at(self, path: str) -> str:
        return path if self.root == "." else f"{self.root}/{path}"

    def raw(self, dataset: str, file: str) -> str:
        return self.at(f"data/raw/{dataset}/{file}")

    def prepared(self, dataset: str) -> str:
        return self.at(f"data/prepared/{dataset}.safetensors")

    def manifest(self, dataset: str) -> str:
        return self.at(f"data/prepared/{dataset}.json")

    def trained(self, kept: str, experiment: str, grid: str, job: str) -> str:
        """What a training job keeps: ``weights``, ``results`` or ``samples``."""
        folder, ending = {
            "weights": ("models", ".safetensors"),
            "results": ("results", ".parquet"),
            "samples": ("results", "-samples.safetensors"),
        }[kept]
        return self.at(f"data/{folder}/{experiment}/{grid}/{job}{ending}")

    def taken(self, experiment: str, profile: str) -> str:
        """The table of another profile, beside the results of this one."""
        return self.at(f"data/results/{experiment}/{profile}.parquet")

    def listing(self) -> str:
        """Of all files of weights."""
        return self.at("data/models/weights.json")

    def results(self) -> str:
        """The folder of the tables."""
        return self.at("data/results")

    def table(self, name: str) -> str:
        return f"{self.results()}/{self.beside and f'{self.beside}/'}{name}.parquet"

    def metrics(self, name: str) -> str:
        """A table's final figures, for ``dvc metrics``."""
        return f"{self.results()}/{name}.json"

    def figures(self) -> str:
        """The folder of the figures."""
        return self.at("reports/figures")

    def figure(self, stem: str) -> list[str]:
        """A figure in each of its formats, and the numbers that it draws."""
        return [f"{self.figures()}/{stem}.{suffix}" for suffix in FIGURE_FORMATS]

    def page(self, name: str) -> str:
        return self.at(f"reports/pages/{name}.html")

    def notebook(self, name: str) -> str:
        """The executed notebook behind a page."""
        return self.at(f"reports/pages/{name}.ipynb")

    def ledger(self) -> str:
        return self.at("reports/claims.json")

    def verdicts(self) -> str:
        """The ledger for ``dvc metrics``."""
        return self.at("reports/verdicts.json")

    def findings(self) -> str:
        """What was found, in sentences."""
        return self.at("reports/findings.json")

    def macros(self) -> str:
        """The ledger for LaTeX."""
        return self.at("reports/numbers.tex")

    def index(self) -> str:
        """The report's first page."""
        return self.at("reports/index.html")

    def receipt(self) -> str:
        """What `bnblind receipt` writes of a run, which is no part of it."""
        return self.at("reports/receipt.json")

    def log(self, rule: str, *wildcards: str) -> str:
        return self.at(f"logs/{'/'.join([rule, *wildcards])}.log")
