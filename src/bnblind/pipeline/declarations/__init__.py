"""The experiments, a module each; found by being here."""
