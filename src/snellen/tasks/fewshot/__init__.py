"""Few-shot recognition: classes told apart by a few examples of each, and what is like none of them said."""
