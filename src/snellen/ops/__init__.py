"""Pure functions on tensors: correlation, padding, tiling, augmentation, losses.

Nothing here keeps state, reads files or knows a task. Import the modules themselves:
`from snellen.ops.self_correlation import pooled_self_correlation`.
"""
