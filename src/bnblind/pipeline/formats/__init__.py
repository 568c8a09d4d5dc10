"""How things are kept as files: tables, tensors, weights, figures and pages."""
