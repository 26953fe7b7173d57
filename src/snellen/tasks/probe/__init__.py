"""Heads on frozen features: several classifications learned on vectors that are computed once."""
