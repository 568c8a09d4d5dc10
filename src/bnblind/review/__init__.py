"""The reviewer's tools: they read what the pipeline made and judge it."""
