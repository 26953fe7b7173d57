"""What a run will need before it starts: memory, time, and on which GPU it fits. No GPU is asked."""
