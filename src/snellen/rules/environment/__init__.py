"""What Python imports, and from where."""
