"""Spike streams: what a file of packed spikes holds, read, inferred, written, and turned into voxels."""
