"""Rules of experiment trackers."""
