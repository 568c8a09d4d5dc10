"""Norms by what they are defined for."""

from bnblind.norm_facts import norm_facts

POSITIONAL = [name for name, facts in norm_facts().items() if facts.needs_positions]
"""Norms of features (C, *spatial) only."""

FOR_VECTORS = [name for name in norm_facts() if name not in POSITIONAL]
"""Norms that are defined everywhere, for vectors as well."""
