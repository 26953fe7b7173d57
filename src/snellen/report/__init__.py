"""Findings, runs and curves as text, JSON and HTML; renders and computes nothing."""
