"""What is learned or inferred: one folder a task, and the verbs that join checks, engine and guards around it."""
