"""The learned copy-move detector: backbone, self-correlation, decoder."""
