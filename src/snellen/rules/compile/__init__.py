"""Rules of torch.compile."""
