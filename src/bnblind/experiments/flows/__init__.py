"""The generative experiment: RealNVP on pairs of classes, and what it thinks of mixed images."""
