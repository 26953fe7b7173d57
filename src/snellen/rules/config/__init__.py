"""Settings of the wrong type or name."""
