"""Draw the pipeline's rule graph, from the dot that Snakemake prints.

snakemake --rulegraph --quiet all | python scripts/rulegraph.py docs/images/rulegraph.svg
"""

import re
import sys
from pathlib import Path
from statistics import fmean

import networkx as nx
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.figures.style import COLUMN, LOOKS, use_style
from bnblind.pipeline.formats.publishing import figure_bytes

# What only bundles other rules' files says nothing about how results come about.
BUNDLES = {"all", "prepared", "trained", "analysed", "reported"}


def read_graph(dot: str) -> nx.DiGraph:
    """Rules and which rule's files each one reads, without what follows from other edges.

    Sorted, because Snakemake's order and that of networkx's sets change from run to run.
    """
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"\\]+)', dot, re.MULTILINE))
    found = nx.DiGraph((names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", dot))
    found.remove_nodes_from(BUNDLES)
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(found))
    graph.add_edges_from(sorted(nx.transitive_reduction(found).edges))
    return graph


def columns_of(graph: nx.DiGraph) -> list[list[str]]:
    """A rule that others read stands before its first reader, any other after what it reads."""
    late = [*nx.topological_generations(graph.reverse())]
    column = {rule: x for x, rules in enumerate(reversed(late)) for rule in rules}
    for rule in (r for r in graph if graph.in_degree(r) and not graph.out_degree(r)):
        column[rule] = 1 + max(column[read] for read in graph.predecessors(rule))
    return [[r for r in graph if column[r] == x] for x in range(len(late))]


def layout(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Places from left to right; in its column a rule is level with those it is joined to."""
    columns = columns_of(graph)
    height = dict.fromkeys(graph, 0.0)
    for sweep in range(8):
        for column in columns if sweep % 2 else reversed(columns):
            joined = {r: [height[other] for other in nx.all_neighbors(graph, r)] for r in column}
            column.sort(key=lambda rule: (fmean(joined[rule] or [0.0]), rule))
            height |= {rule: i - (len(column) - 1) / 2 for i, rule in enumerate(column)}
    return {rule: (x, height[rule]) for x, column in enumerate(columns) for rule in column}


def draw(graph: nx.DiGraph) -> Figure:
    """Boxes from left to right, and an arrow from each rule to those that read its files."""
    places = layout(graph)
    tallest = max(abs(y) for _, y in places.values()) + 0.5
    figure, axes = plt.subplots(figsize=(2 * COLUMN, 0.62 * tallest))
    axes.set_axis_off()
    axes.set(xlim=(-0.45, max(x for x, _ in places.values()) + 0.55), ylim=(-tallest, tallest))
    style = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": LOOKS["ln"].color}
    boxes = {
        rule: axes.text(
            x, y, rule.replace("_", " "), ha="center", va="center", fontsize=6.5, bbox=style
        )
        for rule, (x, y) in places.items()
    }
    figure.canvas.draw()  # gives the boxes their size, at which the arrows end
    for start, end in graph.edges:
        arrow = {"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 1}
        patches = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
        axes.annotate("", places[end], places[start], arrowprops=arrow | patches, zorder=0)
    return figure


def main() -> None:
    use_style()
    figure = draw(read_graph(sys.stdin.read()))
    Path(sys.argv[1]).write_bytes(figure_bytes(figure, "svg"))


if __name__ == "__main__":
    main()
