"""Checkpoints and pretrained weights."""
