"""Known failures of gradients: what is differentiated, what is updated, and when."""
