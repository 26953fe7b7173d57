"""Decoded samples that are kept in memory once, for all loader processes and ranks of a machine."""
