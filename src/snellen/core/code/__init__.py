"""Readers of source: what a file or a project says of its models, loops, loaders and numbers."""
