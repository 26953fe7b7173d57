"""Training data made from authentic photos."""
