"""Draw the pipeline's rule graph, from the dot that Snakemake prints.

snakemake --rulegraph --quiet all | python docs/rulegraph.py docs/images/rulegraph.svg
"""

import re
import sys
from pathlib import Path

import networkx as nx
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bnblind.figures.style import COLUMN, LOOKS, use_style
from bnblind.pipeline.publishing import figure_bytes

# What only bundles other rules' files says nothing about how results come about.
BUNDLES = {"all", "prepared", "trained", "analysed", "reported"}


def read_graph(dot: str) -> nx.DiGraph:
    """Rules and which rule's files each one reads, without what follows from other edges."""
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"\\]+)', dot, re.MULTILINE))
    graph = nx.DiGraph()
    graph.add_nodes_from(names.values())
    graph.add_edges_from((names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", dot))
    graph.remove_nodes_from(BUNDLES)
    return nx.transitive_reduction(graph)


def draw(graph: nx.DiGraph) -> Figure:
    """Boxes from left to right, each rule in the column after the last rule that it reads."""
    for column, rules in enumerate(nx.topological_generations(graph)):
        for rule in rules:
            graph.nodes[rule]["column"] = column
    places = nx.multipartite_layout(graph, subset_key="column", align="vertical")
    figure, axes = plt.subplots(figsize=(2 * COLUMN, 0.5 * COLUMN))
    nx.draw_networkx_edges(
        graph, places, ax=axes, node_size=1500, node_shape="s", edge_color="#777777", arrowsize=8
    )
    for rule, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": LOOKS["ln"].color}
        axes.text(x, y, rule.replace("_", "\n"), ha="center", va="center", fontsize=7, bbox=box)
    axes.set_axis_off()
    axes.margins(0.08, 0.2)
    return figure


def main() -> None:
    use_style()
    figure = draw(read_graph(sys.stdin.read()))
    Path(sys.argv[1]).write_bytes(figure_bytes(figure, "svg"))


if __name__ == "__main__":
    main()
