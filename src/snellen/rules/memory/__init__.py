"""Memory that is asked for and not needed."""
