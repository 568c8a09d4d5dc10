"""Data sets, batchings, models, training and theorem checks: computation without file paths."""
