"""Models that answer with words about a picture."""
