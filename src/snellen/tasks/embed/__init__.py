"""Embeddings: any number of images into vectors of a fixed backbone."""
