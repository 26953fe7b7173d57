"""Which patch of a feature map looks like which other, without unfolding. Needs snellen[vision]."""

import torch

from snellen.ops.self_correlation import dense_patch_top_k

features = torch.randn(1, 16, 32, 32, generator=torch.Generator().manual_seed(0))
features[..., 18:26, 20:28] = features[..., 4:12, 2:10]

matches = dense_patch_top_k(features, patch=4, top_k=1, exclusion_radius=4)
score, offset = matches.scores[0, 0, 5, 4], matches.offsets[0, 0, :, 5, 4]
print(f"the patch at row 5, column 4 matches {offset.tolist()} cells further (x, y), cosine {score:.3f}")
