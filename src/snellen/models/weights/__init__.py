"""Weights that somebody else wrote: what is in them, which network they belong to, and loading them whole."""
