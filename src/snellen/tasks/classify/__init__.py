"""Classification: which of several classes an image shows."""
