"""Training, evaluation and streaming of predictions; it knows recipes, never a task's name."""
