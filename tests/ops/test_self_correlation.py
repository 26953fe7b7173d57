"""Self-correlation against references that unfold the map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.self_correlation import (
    Normalisation,
    TopMatches,
    dense_patch_correlation,
    dense_patch_top_k,
    masking_value,
    pooled_self_correlation,
)

Search = Callable[..., TopMatches]
SEARCHES = [pooled_self_correlation, dense_patch_top_k]
# Height, width, patch, stride: shared divisors, none, strides that leave a rest or skip cells, a single row of patches.
GEOMETRIES = [
    (13, 17, 4, 2),
    (13, 17, 3, 2),
    (14, 14, 6, 4),
    (11, 16, 5, 1),
    (9, 10, 1, 1),
    (12, 30, 12, 4),
    (16, 15, 2, 5),
    (20, 8, 8, 6),
]
NORMALISATIONS: list[Normalisation] = ["none", "cosine", "zero-mean"]


def features_of(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def reference_matrix(features: Tensor, patch: int, stride: int, normalisation: Normalisation) -> Tensor:
    descriptors = F.unfold(features, patch, stride=stride)
    if normalisation == "zero-mean":
        descriptors = descriptors - descriptors.mean(dim=1, keepdim=True)
    if normalisation != "none":
        descriptors = F.normalize(descriptors, dim=1)
    return descriptors.transpose(1, 2) @ descriptors


def reference_pooled_matrix(features: Tensor, patch: int, stride: int) -> Tensor:
    batch, channels = features.shape[:2]
    means = F.unfold(features, patch, stride=stride).view(batch, channels, patch * patch, -1).mean(dim=2)
    descriptors = F.normalize(means, dim=1)
    return descriptors.transpose(1, 2) @ descriptors


def reference_top(matrix: Tensor, columns: int, top_k: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Query by query in numpy: (B, k, N) scores and indices."""
    scores, indices = [], []
    for sample in matrix.numpy():
        for query, row in enumerate(sample):
            far = [
                other
                for other in range(len(row))
                if max(abs(other // columns - query // columns), abs(other % columns - query % columns)) > radius
            ]
            best = sorted(far, key=lambda other, row=row: -row[other])[:top_k]
            indices.append(best)
            scores.append(row[best])
    shape = (len(matrix), -1, top_k)
    return tuple(np.asarray(one).reshape(shape).transpose(0, 2, 1) for one in (scores, indices))


def grid_of(height: int, width: int, patch: int, stride: int) -> tuple[int, int]:
    return (height - patch) // stride + 1, (width - patch) // stride + 1


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(("height", "width", "patch", "stride"), GEOMETRIES)
def test_dense_matrix_equals_unfold(
    height: int, width: int, patch: int, stride: int, normalisation: Normalisation
) -> None:
    features = features_of(2, 3, height, width)
    found = dense_patch_correlation(features, patch=patch, stride=stride, normalisation=normalisation)
    torch.testing.assert_close(found, reference_matrix(features, patch, stride, normalisation), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("tile", [None, 1, 7])
@pytest.mark.parametrize(("height", "width", "patch", "stride"), GEOMETRIES)
def test_top_k_equals_unfold_and_a_loop(height: int, width: int, patch: int, stride: int, tile: int | None) -> None:
    features = features_of(2, 3, height, width, seed=1)
    rows, columns = grid_of(height, width, patch, stride)
    settings = {"patch": patch, "stride": stride, "top_k": 2, "exclusion_radius": 0}
    for matrix, found in (
        (reference_pooled_matrix(features, patch, stride), pooled_self_correlation(features, **settings, tile=tile)),
        (
            reference_matrix(features, patch, stride, "cosine"),
            dense_patch_top_k(features, **settings, tile_rows=tile),
        ),
    ):
        scores, indices = reference_top(matrix, columns, 2, 0)
        assert found.scores.shape == found.indices.shape == (2, 2, rows, columns)
        np.testing.assert_array_equal(found.indices.flatten(2).numpy(), indices)
        np.testing.assert_allclose(found.scores.flatten(2).numpy(), scores, atol=1e-12)


@pytest.mark.parametrize("radius", [0, 1, 2, 3])
@pytest.mark.parametrize("search", SEARCHES)
def test_exclusion_is_chebyshev_and_inclusive(search: Search, radius: int) -> None:
    features = features_of(1, 4, 14, 18)
    found = search(features, patch=4, stride=2, top_k=5, exclusion_radius=radius)
    distance = found.offsets.abs().amax(dim=2) // 2
    assert int(distance.min()) == radius + 1


@pytest.mark.parametrize("search", SEARCHES)
def test_offsets_lead_from_the_patch_to_its_match(search: Search) -> None:
    patch, stride = 4, 2
    features = features_of(2, 4, 14, 18)
    found = search(features, patch=patch, stride=stride, top_k=3, exclusion_radius=1)
    rows, columns = grid_of(14, 18, patch, stride)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    matched_column = column + found.offsets[:, :, 0] // stride
    matched_row = row + found.offsets[:, :, 1] // stride
    assert torch.equal(matched_row * columns + matched_column, found.indices)


@pytest.mark.parametrize("search", SEARCHES)
def test_finds_the_copied_part_of_a_photograph(search: Search) -> None:
    # Plain colours of a real photograph, reduced to 64 x 64, as a feature map; an area is pasted 28 right and 24 down.
    image = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    features = F.interpolate(image, size=(64, 64), mode="area")
    features[..., 34:54, 36:56] = features[..., 10:30, 8:28]
    found = search(features - features.mean(), patch=8, stride=2, top_k=1, exclusion_radius=4)
    # Patches that lie wholly inside the source: map rows 10 to 22 and columns 8 to 20.
    inside = found.offsets[0, 0, :, 5:12, 4:11]
    assert (inside[0] == 28).all()
    assert (inside[1] == 24).all()
    torch.testing.assert_close(found.scores[0, 0, 5:12, 4:11], torch.ones(7, 7))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("search", SEARCHES)
def test_half_types_differ_by_the_rounding_of_the_input_only(
    search: Search, dtype: torch.dtype, tolerance: float
) -> None:
    features = features_of(2, 16, 20, 20)
    settings = {"patch": 6, "stride": 2, "top_k": 4, "exclusion_radius": 2}
    exact = search(features, **settings)
    found = search(features.to(dtype), **settings)
    assert found.scores.dtype is torch.float32
    torch.testing.assert_close(found.scores.double(), exact.scores, rtol=0, atol=tolerance)
    of_rounded = search(features.to(dtype).double(), **settings)
    torch.testing.assert_close(found.scores.double(), of_rounded.scores, rtol=0, atol=1e-6)
    assert torch.equal(found.indices, of_rounded.indices)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_dense_matrix_of_half_types(dtype: torch.dtype, normalisation: Normalisation) -> None:
    features = features_of(1, 8, 12, 12).to(dtype)
    found = dense_patch_correlation(features, patch=4, stride=2, normalisation=normalisation)
    expected = reference_matrix(features.double(), 4, 2, normalisation).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [3e4, 6e-8])
@pytest.mark.parametrize("search", SEARCHES)
def test_float16_neither_overflows_nor_vanishes(search: Search, value: float) -> None:
    # The square of either value does not exist in float16.
    features = (features_of(1, 8, 12, 12).sign() * value).half()
    found = search(features, patch=4, stride=2, top_k=2, exclusion_radius=1)
    expected = search(features.double(), patch=4, stride=2, top_k=2, exclusion_radius=1)
    torch.testing.assert_close(found.scores.double(), expected.scores, rtol=0, atol=1e-5)


def pooled_scores(features: Tensor) -> Tensor:
    return pooled_self_correlation(features, patch=4, stride=2, top_k=2, exclusion_radius=1).scores


def dense_scores(features: Tensor) -> Tensor:
    return dense_patch_top_k(features, patch=4, stride=2, top_k=2, exclusion_radius=1).scores


def dense_matrix(features: Tensor) -> Tensor:
    return dense_patch_correlation(features, patch=4, stride=2)


@pytest.mark.parametrize("score", [pooled_scores, dense_scores, dense_matrix])
def test_autocast_changes_nothing(score: Callable[[Tensor], Tensor]) -> None:
    def scores_and_gradient(*, autocast: bool) -> tuple[Tensor, Tensor]:
        features = features_of(1, 8, 12, 12, dtype=torch.float32).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            scores = score(features)
        scores.square().sum().backward()
        assert features.grad is not None
        return scores.detach(), features.grad

    for plain, mixed in zip(scores_and_gradient(autocast=False), scores_and_gradient(autocast=True), strict=True):
        assert torch.equal(plain, mixed)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(("height", "width", "patch", "stride"), [(5, 6, 3, 1), (8, 6, 4, 2), (7, 8, 3, 2)])
def test_dense_gradients(height: int, width: int, patch: int, stride: int, normalisation: Normalisation) -> None:
    features = features_of(2, 2, height, width).requires_grad_()
    settings = {"patch": patch, "stride": stride, "normalisation": normalisation}
    assert torch.autograd.gradcheck(lambda given: dense_patch_correlation(given, **settings), features, fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda given: dense_patch_top_k(given, **settings, top_k=2, exclusion_radius=0, tile_rows=2).scores,
        features,
        fast_mode=True,
    )


def test_pooled_gradients() -> None:
    features = features_of(2, 3, 9, 8).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda given: pooled_self_correlation(given, patch=4, stride=2, top_k=2, exclusion_radius=0, tile=4).scores,
        features,
    )


@pytest.mark.parametrize("search", SEARCHES)
def test_scores_with_and_without_gradient_agree(search: Search) -> None:
    features = features_of(2, 4, 14, 18, dtype=torch.float32)
    settings = {"patch": 4, "stride": 2, "top_k": 3, "exclusion_radius": 1}
    plain, followed = search(features, **settings), search(features.clone().requires_grad_(), **settings)
    assert torch.equal(plain.indices, followed.indices)
    torch.testing.assert_close(plain.scores, followed.scores.detach(), rtol=0, atol=1e-6)
    assert not plain.scores.requires_grad
    assert followed.scores.requires_grad


@pytest.mark.parametrize("search", SEARCHES)
def test_the_graph_holds_no_matrix_of_patches(search: Search) -> None:
    """What autograd keeps grows with the number of patches, not with its square."""

    def kept_numbers(side: int) -> int:
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes() // 4
            alive.append(tensor)
            return tensor

        alive: list[Tensor] = []
        features = features_of(1, 2, side, side, dtype=torch.float32).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            search(features, patch=3, stride=1, top_k=2, exclusion_radius=2)
        return sum(kept.values())

    small, large = kept_numbers(18), kept_numbers(34)  # 16 x 16 and 32 x 32 patches
    assert large < 5 * small
    assert large < 1024**2 / 4


@pytest.mark.parametrize("normalisation", ["cosine", "zero-mean"])
def test_patches_without_content_score_zero(normalisation: Normalisation) -> None:
    features = features_of(1, 3, 12, 12, dtype=torch.float32)
    features[..., :6, :] = 0.0 if normalisation == "cosine" else 7.3
    features.requires_grad_()
    matrix = dense_patch_correlation(features, patch=4, stride=2, normalisation=normalisation)
    assert int(matrix[0, :10].count_nonzero()) == 0
    matrix.sum().backward()
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


def test_zero_mean_keeps_its_digits_on_a_large_offset() -> None:
    features = features_of(1, 3, 12, 12, dtype=torch.float32) + 100.0
    found = dense_patch_correlation(features, patch=4, stride=2, normalisation="zero-mean")
    expected = reference_matrix(features.double(), 4, 2, "zero-mean")
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("search", SEARCHES)
def test_equal_patches_everywhere_leave_the_mask_intact(search: Search) -> None:
    found = search(torch.ones(1, 2, 10, 10), patch=2, stride=2, top_k=16, exclusion_radius=1)
    assert int(found.offsets.abs().amax(dim=2).min()) == 4
    assert float(found.scores.min()) > 0.999


@pytest.mark.parametrize("search", SEARCHES)
def test_every_candidate_can_be_asked_for(search: Search) -> None:
    features = features_of(1, 2, 5, 5)
    found = search(features, patch=1, stride=1, top_k=16, exclusion_radius=1)
    assert found.indices.shape == (1, 16, 5, 5)
    for query in found.indices.flatten(2)[0].unbind(dim=1):
        assert len(set(query.tolist())) == 16
    with pytest.raises(ContractError, match=r"top_k is 17, but of 5 x 5 patches .* radius of 1 leaves only 16"):
        search(features, patch=1, stride=1, top_k=17, exclusion_radius=1)


@pytest.mark.parametrize("search", SEARCHES)
def test_masked_values_never_come_out_when_scores_are_low(search: Search) -> None:
    features = torch.tensor([[[[1.0, -1.0, 1.0, -1.0]]]]).half()
    found = search(features, patch=1, stride=1, top_k=1, exclusion_radius=0)
    assert found.scores.flatten().tolist() == [1.0, 1.0, 1.0, 1.0]
    assert found.indices.flatten().tolist() == [2, 3, 0, 1]


def test_not_finite_features_give_nan_not_a_crash() -> None:
    features = features_of(1, 2, 8, 8, dtype=torch.float32)
    features[0, 0, 0, 0] = torch.inf
    for search in SEARCHES:
        found = search(features.requires_grad_(), patch=2, stride=2, top_k=2, exclusion_radius=0)
        assert bool(found.scores.isnan().any())
        assert 0 <= int(found.indices.min()) <= int(found.indices.max()) < 16


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((1, 3, 11, 40), {"patch": 12}, "a patch of 12 x 12 does not fit a feature map of 11 x 40"),
        ((1, 3, 0, 0), {"patch": 1}, "does not fit a feature map of 0 x 0"),
        ((3, 20, 20), {"patch": 4}, r"shape \(3, 20, 20\), expected \(B, C, H, W\)"),
        ((1, 0, 20, 20), {"patch": 4}, "with C of at least 1"),
        ((1, 3, 20, 20), {"patch": 0}, "patch is 0 and stride is 1, expected both"),
        ((1, 3, 20, 20), {"patch": 4, "stride": 0}, "stride is 0"),
        ((1, 3, 20, 20), {"patch": 4, "top_k": 0}, "top_k is 0"),
        ((1, 3, 20, 20), {"patch": 4, "exclusion_radius": -1}, "exclusion_radius is -1"),
        ((1, 3, 12, 12), {"patch": 12, "top_k": 1}, "of 1 x 1 patches .* leaves only 0 candidates"),
    ],
)
def test_impossible_sizes(search: Search, shape: tuple[int, ...], settings: dict[str, int], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        search(torch.zeros(shape), **({"stride": 1} | settings))


def test_impossible_types_and_tiles() -> None:
    features = torch.zeros(1, 3, 20, 20)
    with pytest.raises(ContractError, match=r"features are torch\.int64, expected a floating type"):
        dense_patch_correlation(features.long())
    with pytest.raises(ContractError, match="tile is 0"):
        pooled_self_correlation(features, patch=4, stride=2, tile=0)
    with pytest.raises(ContractError, match="tile_rows is -1"):
        dense_patch_top_k(features, patch=4, stride=2, tile_rows=-1)
    with pytest.raises(ContractError, match="normalisation is 'l2', expected 'none', 'cosine' or 'zero-mean'"):
        dense_patch_correlation(features, normalisation="l2")  # type: ignore[arg-type]


@pytest.mark.parametrize("search", SEARCHES)
def test_an_empty_batch_and_a_view_pass(search: Search) -> None:
    settings = {"patch": 4, "stride": 2, "top_k": 2, "exclusion_radius": 1}
    assert search(torch.zeros(0, 3, 12, 12), **settings).scores.shape == (0, 2, 5, 5)
    features = features_of(1, 3, 12, 16)
    view = features.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(search(view, **settings).indices, search(features, **settings).indices)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_masking_value_exists_in_its_type_and_survives_a_softmax(dtype: torch.dtype) -> None:
    value = masking_value(dtype)
    masked = torch.zeros(2, 3, dtype=dtype).masked_fill(torch.tensor([[True, True, False], [True] * 3]), value)
    assert float(masked[0, 0]) == value
    probabilities = masked.softmax(dim=-1)
    torch.testing.assert_close(probabilities[0], torch.tensor([0, 0, 1], dtype=dtype))
    torch.testing.assert_close(probabilities[1].float(), torch.full((3,), 1 / 3), rtol=0, atol=1e-2)
    with pytest.raises(ContractError, match=r"values are torch\.bool, expected a floating type"):
        masking_value(torch.bool)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("search", SEARCHES)
def test_cuda_agrees_with_cpu(search: Search) -> None:
    features = features_of(2, 16, 20, 20)
    settings = {"patch": 6, "stride": 2, "top_k": 4, "exclusion_radius": 2}
    on_cpu = search(features, **settings)
    followed = features.cuda().requires_grad_()
    with torch.autocast("cuda", dtype=torch.float16):
        on_gpu = search(followed, **settings)
    on_gpu.scores.sum().backward()
    assert torch.equal(on_cpu.indices, on_gpu.indices.cpu())
    torch.testing.assert_close(on_cpu.scores, on_gpu.scores.detach().cpu())
