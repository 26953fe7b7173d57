"""Backbones of the libraries that publish them, behind one adapter with a contract."""
