"""Readers of logs: what messages of libraries say, whoever printed them."""
