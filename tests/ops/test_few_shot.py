"""Search, prototypes and figures against independent references."""

from __future__ import annotations

import numpy as np
import pytest

from snellen.ops.bootstrap import bootstrap, mean_of
from snellen.ops.classification import FIGURES, binary_matrices, confusion, figures_of
from snellen.ops.cosine_search import nearest, unit_rows
from snellen.ops.few_shot import prototypes, two_best
from snellen.ops.vector_index import VectorIndex


def vectors(rows: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5, 300])
def test_search_finds_what_scikit_learn_finds(k: int) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    queries, supports = vectors(50), vectors(300, seed=1)
    found = nearest(queries, supports, k=k)
    expected = cosine_similarity(queries.astype(np.float64), supports.astype(np.float64))
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    assert np.array_equal(found.indices, order)
    assert np.allclose(found.scores, np.take_along_axis(expected, order, axis=1), atol=1e-6)


@pytest.mark.parametrize("block_bytes", [4 * 8192, 7 * 4 * 8192, 2**28])
def test_search_does_not_depend_on_its_blocks(block_bytes: int) -> None:
    queries, supports = vectors(40), vectors(20_000, seed=1)
    one, other = nearest(queries, supports, k=3), nearest(queries, supports, k=3, block_bytes=block_bytes)
    assert np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.scores, other.scores)


def test_equal_supports_are_found_in_their_order() -> None:
    found = nearest(np.ones((1, 3), np.float32), np.ones((5, 3), np.float32), k=3)
    assert found.indices.tolist() == [[0, 1, 2]]


def test_very_many_equal_supports_are_found_in_their_order() -> None:
    different = vectors(50, width=64)
    which = np.random.default_rng(0).integers(0, 50, 20_000)
    found = nearest(different, different[which], k=2)
    assert found.indices.tolist() == [np.flatnonzero(which == number)[:2].tolist() for number in range(50)]
    assert (
        nearest(np.ones((2, 3), np.float32), np.ones((20_000, 3), np.float32), k=3).indices.tolist() == [[0, 1, 2]] * 2
    )


def test_supports_that_come_ever_nearer_are_all_looked_at() -> None:
    angle = np.linspace(1.5, 0.0, 30_000)
    supports = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = nearest(np.array([[np.cos(0.7), -np.sin(0.7)]], np.float32), supports, k=300)
    assert found.indices[0].tolist() == list(range(29_999, 29_699, -1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    odd = vectors(3)
    odd[1, 2] = bad
    with pytest.raises(ValueError, match="a query is not finite"):
        nearest(odd, vectors(3))
    with pytest.raises(ValueError, match="a support is not finite"), np.errstate(invalid="ignore"):
        nearest(vectors(3), odd)


def test_widths_that_differ_and_no_support_are_refused() -> None:
    with pytest.raises(ValueError, match="of one width"):
        nearest(vectors(2), vectors(2, width=8))
    with pytest.raises(ValueError, match="no support"):
        nearest(vectors(2), vectors(0))


def test_a_row_of_zeros_is_similar_to_nothing() -> None:
    assert nearest(np.zeros((1, 2), np.float32), np.eye(2, dtype=np.float32)).scores.tolist() == [[0.0]]


def test_prototypes_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import NearestCentroid

    supports, labels = unit_rows(vectors(60)), np.arange(60) % 4
    fitted = NearestCentroid().fit(supports.astype(np.float64), labels)
    assert np.allclose(prototypes(supports, labels, 4), unit_rows(fitted.centroids_), atol=1e-6)


@pytest.mark.parametrize(("supports", "classes"), [(40, 4), (400, 2), (400, 400)])
def test_the_two_best_classes_are_those_of_the_whole_matrix(supports: int, classes: int) -> None:
    rows, labels, queries = vectors(supports, seed=2), np.arange(supports) % classes, vectors(30)
    similar = unit_rows(queries).astype(np.float64) @ unit_rows(rows).astype(np.float64).T
    by_class = np.stack([similar[:, labels == label].max(axis=1) for label in range(classes)], axis=1)
    order = np.argsort(-by_class, axis=1)
    found = two_best(queries, rows, labels)
    assert np.array_equal(found.label, order[:, 0])
    assert np.array_equal(found.second_label, order[:, 1])
    ordered = np.take_along_axis(by_class, order[:, :2], axis=1)
    assert np.allclose(found.margin, ordered[:, 0] - ordered[:, 1], atol=1e-6)


def test_the_runner_up_is_found_behind_many_images_of_the_best_class() -> None:
    rows = np.concatenate([np.tile([[1.0, 0.0]], (200, 1)), [[0.0, 1.0]]]).astype(np.float32)
    found = two_best(np.array([[1, 0.1]], np.float32), rows, np.array([0] * 200 + [1]))
    assert (found.label[0], found.second_label[0]) == (0, 1)


def test_an_index_finds_nearly_all_and_measures_it() -> None:
    supports, queries = vectors(3000, seed=3), vectors(100)
    index = VectorIndex.build(supports)
    assert index.tune(queries, k=5) > 0.95
    exact, found = nearest(queries, supports), index.search(queries)
    same = exact.indices == found.indices
    assert same.mean() > 0.9
    assert np.allclose(exact.scores[same], found.scores[same])


def test_a_search_that_misses_much_becomes_more_thorough() -> None:
    # Neighbours in a crowd: all vectors of a class lie equally far from each other.
    generator = np.random.default_rng(1)
    crowd = generator.standard_normal((4, 128))[generator.integers(0, 4, 8000)] + generator.standard_normal((8000, 128))
    index = VectorIndex.build(crowd.astype(np.float32), connectivity=12, effort=16, threads=1)
    queries = crowd[:64].astype(np.float32) + 0.5 * generator.standard_normal((64, 128)).astype(np.float32)
    assert index.tune(queries, k=10, wanted=0.0) < 0.8
    effort = index.effort
    assert index.tune(queries, k=10, wanted=0.9) >= 0.9
    assert index.effort > effort


def answers(classes: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(classes)
    truth = generator.integers(0, classes, rows)
    return truth, np.where(generator.random(rows) < 0.6, truth, generator.integers(0, classes, rows))


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_figures_are_those_of_scikit_learn(classes: int) -> None:
    from sklearn import metrics

    truth, answer = answers(classes)
    expected = (
        metrics.accuracy_score(truth, answer),
        metrics.balanced_accuracy_score(truth, answer),
        metrics.f1_score(truth, answer, average="macro"),
        metrics.matthews_corrcoef(truth, answer),
    )
    found = figures_of(truth, answer, classes + 2)
    assert [float(found[name](np.ones((1, 200)))[0]) for name in FIGURES] == pytest.approx(list(expected))
    weights = np.random.default_rng(0).integers(0, 4, (3, 200)).astype(float)
    for row in weights:
        assert float(found["mcc"](row[None])[0]) == pytest.approx(
            metrics.matthews_corrcoef(truth, answer, sample_weight=row)
        )


def test_matrices_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    truth, answer = answers(5)
    matrix = confusion(truth, answer, 5)
    assert np.array_equal(matrix, metrics.confusion_matrix(truth, answer))
    assert np.array_equal(binary_matrices(matrix), metrics.multilabel_confusion_matrix(truth, answer))


def test_one_class_alone_has_no_correlation() -> None:
    truth = np.zeros(4, np.int64)
    assert float(figures_of(truth, truth, 2)["mcc"](np.ones((1, 4)))[0]) == 0.0


def test_groups_that_agree_within_themselves_widen_the_interval() -> None:
    values = np.repeat([0.0, 1.0] * 5, 20)
    alone = bootstrap(mean_of(values), 200)
    grouped = bootstrap(mean_of(values), 200, groups=np.repeat(np.arange(10), 20))
    assert alone.value == grouped.value == 0.5
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
