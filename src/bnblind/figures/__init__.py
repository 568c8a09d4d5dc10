"""Figures: from a table to a matplotlib figure, in one visual language."""
