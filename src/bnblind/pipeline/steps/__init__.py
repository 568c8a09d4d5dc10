"""The pipeline's steps: one module each, reading and writing files; found by being here."""
