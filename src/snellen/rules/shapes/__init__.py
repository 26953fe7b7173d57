"""Tensors of the wrong layout or size."""
