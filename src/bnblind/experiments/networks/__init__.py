"""Classifiers: the networks, how they are trained, and in which modes they are judged."""
