"""Federated averaging over clients whose samples differ in their labels."""
