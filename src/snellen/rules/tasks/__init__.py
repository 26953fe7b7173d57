"""Runs that do not fail and do not learn what they are meant to, and prompts and weights of promptable models."""
