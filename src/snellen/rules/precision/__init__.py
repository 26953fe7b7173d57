"""Numbers that do not fit their type, and training that turns NaN."""
