"""Providers of facts: one module for the machine, the data, the weights, the user's project and loaded modules."""
