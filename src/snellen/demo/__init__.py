"""The whole story on embedded photos: planted mistakes, checks, training, a kill, a crash, a report."""
