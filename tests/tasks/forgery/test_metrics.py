"""Metrics against scikit-learn and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score, roc_auc_score

from snellen.errors import DataError
from snellen.ops.bootstrap import area_under_curve, bootstrap, f1_of, mean_of
from snellen.tasks.forgery.metrics import ForgeryMetrics, compare, pixel_scores

REFERENCE = {"f1": f1_score, "iou": jaccard_score, "precision": precision_score, "recall": recall_score}


def samples(seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Heatmaps and true masks of different sizes; some truths are empty."""
    generator = np.random.default_rng(seed)
    made = []
    for number in range(count):
        size = tuple(generator.integers(5, 30, 2))
        truth = generator.random(size) < (0.3 if number % 3 else 0.0)
        heatmap = np.clip(truth * 0.4 + generator.random(size) * 0.7, 0, 1).astype(np.float32)
        made.append((heatmap, truth))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_per_image_and_pooled_scores_are_those_of_scikit_learn(seed: int) -> None:
    metrics = ForgeryMetrics(threshold=0.5)
    data = samples(seed, 12)
    for number, (heatmap, truth) in enumerate(data):
        row = metrics.update(str(number), heatmap=heatmap, truth=truth, score=float(heatmap.max()))
        for name, function in REFERENCE.items():
            expected = function(truth.reshape(-1), heatmap.reshape(-1) >= 0.5, zero_division=0.0)
            assert row.scores[name] == pytest.approx(expected, abs=1e-12)
    summary = metrics.compute(resamples=50)
    marks = np.concatenate([heatmap.reshape(-1) >= 0.5 for heatmap, _ in data])
    truths = np.concatenate([truth.reshape(-1) for _, truth in data])
    for name, function in REFERENCE.items():
        assert summary.pooled[name].value == pytest.approx(function(truths, marks), abs=1e-12)
        assert summary.mean[name].value == pytest.approx(np.mean([row.scores[name] for row in metrics.rows]))
        assert summary.mean[name].low <= summary.mean[name].value <= summary.mean[name].high
    assert (summary.images, summary.forged, summary.with_mask) == (12, 8, 12)
    forged = [row.scores["f1"] for row in metrics.rows if row.forged]
    assert summary.mean_forged["f1"].value == pytest.approx(np.mean(forged))


@pytest.mark.parametrize("seed", range(6))
def test_area_under_curve_is_that_of_scikit_learn_with_ties_and_weights(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, actual = generator.integers(0, 8, 60) / 8, generator.random(60) > 0.6
    weights = generator.integers(0, 4, (5, 60)).astype(float)
    expected = [roc_auc_score(actual, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(area_under_curve(scores, actual)(weights), expected, atol=1e-12)


def test_image_level_figures() -> None:
    generator = np.random.default_rng(3)
    metrics = ForgeryMetrics(score_threshold=0.5)
    forged, scores = generator.random(40) > 0.5, generator.random(40)
    for number in range(40):
        metrics.update(str(number), mask=np.zeros((2, 2), bool), forged=bool(forged[number]), score=scores[number])
    summary = metrics.compute(resamples=200)
    flagged = scores >= 0.5
    assert summary.image_f1.value == pytest.approx(f1_score(forged, flagged))
    assert summary.detection_rate.value == pytest.approx(recall_score(forged, flagged))
    assert summary.false_alarm_rate.value == pytest.approx(flagged[~forged].mean())
    assert summary.image_auc.value == pytest.approx(roc_auc_score(forged, scores))
    assert summary.with_mask == 0
    assert np.isnan(summary.mean["f1"].value)
    assert summary.sweep is None


def test_conventions_where_a_ratio_is_nought_by_nought() -> None:
    assert set(pixel_scores(0, 0, 0).values()) == {1.0}
    assert set(pixel_scores(0, 3, 0).values()) == {0.0}
    assert set(pixel_scores(0, 0, 3).values()) == {0.0}
    metrics = ForgeryMetrics()
    empty = np.zeros((4, 4), bool)
    metrics.update("a", mask=empty, truth=empty)
    summary = metrics.compute(resamples=20)
    assert summary.pooled["precision"].value == 1.0
    assert summary.image_f1.value == 1.0
    assert np.isnan(summary.image_auc.value)
    assert np.isnan(summary.detection_rate.value)
    assert summary.false_alarm_rate.value == 0.0
    nothing = ForgeryMetrics().compute()
    assert nothing.images == 0
    assert np.isnan(nothing.pooled["f1"].value)


def test_the_sweep_counts_exactly_what_cutting_at_each_threshold_gives() -> None:
    metrics = ForgeryMetrics()
    data = samples(7, 6)
    data[0][0][0, :3] = (0.0, 0.5, 1.0)
    for number, (heatmap, truth) in enumerate(data):
        metrics.update(str(number), heatmap=heatmap, truth=truth)
    sweep = metrics.compute(resamples=1).sweep
    assert sweep is not None
    for place in (0, 1, 77, 128, 200, 255, 256):
        threshold = sweep.thresholds[place]
        per_image = []
        counts = np.zeros(3, dtype=int)
        for heatmap, truth in data:
            mark = heatmap >= threshold
            now = (int((mark & truth).sum()), int((mark & ~truth).sum()), int((~mark & truth).sum()))
            per_image.append(pixel_scores(*now)["f1"])
            counts += now
        assert sweep.mean_f1[place] == pytest.approx(np.mean(per_image), abs=1e-12)
        assert sweep.pooled_f1[place] == pytest.approx(pixel_scores(*counts.tolist())["f1"], abs=1e-12)
    assert sweep.best_threshold == sweep.thresholds[np.argmax(sweep.mean_f1)]


def test_bootstrap_matches_resampling_by_copies_and_its_seed() -> None:
    values = np.random.default_rng(0).random(30)
    interval = bootstrap(mean_of(values), 30, resamples=4000, seed=1)
    generator = np.random.default_rng(9)
    copies = values[generator.integers(0, 30, (4000, 30))].mean(axis=1)
    np.testing.assert_allclose((interval.low, interval.high), np.quantile(copies, [0.025, 0.975]), atol=0.01)
    assert interval == bootstrap(mean_of(values), 30, resamples=4000, seed=1)
    assert interval != bootstrap(mean_of(values), 30, resamples=4000, seed=2)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(4)
    hits = 0
    for seed in range(200):
        interval = bootstrap(mean_of(generator.normal(0.5, 0.2, 50)), 50, resamples=300, seed=seed)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_resamples_without_one_class_are_left_out() -> None:
    interval = bootstrap(area_under_curve(np.array([0.1, 0.9]), np.array([False, True])), 2, resamples=50)
    assert (interval.value, interval.low, interval.high) == (1.0, 1.0, 1.0)
    assert f1_of(np.zeros(3, bool), np.zeros(3, bool))(np.ones((1, 3))).tolist() == [1.0]


def test_paired_comparison_is_narrower_than_the_two_intervals() -> None:
    generator = np.random.default_rng(2)
    before, after = ForgeryMetrics(), ForgeryMetrics()
    for number in range(40):
        truth = generator.random((20, 20)) < 0.4
        wrong = generator.random((20, 20)) < generator.random() * 0.8
        better = wrong & (generator.random((20, 20)) < 0.9)
        before.update(str(number), mask=truth ^ wrong, truth=truth)
        after.update(str(39 - number) if number == 99 else str(number), mask=truth ^ better, truth=truth)
    difference = compare(before.rows, reversed(after.rows))
    means = [rows.compute().mean["f1"] for rows in (before, after)]
    assert difference.value == pytest.approx(means[1].value - means[0].value)
    assert difference.low > 0
    assert difference.high - difference.low < means[0].high - means[0].low
    with pytest.raises(DataError, match="not scored on the same images: 1 differ"):
        compare(before.rows, after.rows[1:])


def test_the_gallery_shows_the_worst_first() -> None:
    metrics = ForgeryMetrics()
    truth = np.zeros((10, 10), bool)
    truth[:5] = True
    none = np.zeros((10, 10), bool)
    for number in range(1, 5):
        part = np.zeros((10, 10), bool)
        part[:number] = True
        metrics.update(f"alarm{number}", mask=part, truth=none)
        metrics.update(f"poor{number}", mask=part, truth=truth)
        metrics.update(f"miss{number}", mask=none, truth=part)
    gallery = metrics.gallery(count=2)
    assert [row.name for row in gallery.false_alarms] == ["alarm4", "alarm3"]
    assert [row.name for row in gallery.misses] == ["miss4", "miss3"]
    assert [row.name for row in gallery.poor_masks] == ["poor1", "poor2"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask": np.zeros((2, 2), bool)}, "neither a true mask nor a verdict"),
        ({"truth": np.zeros((2, 2), bool)}, "neither a mask nor a heatmap"),
        ({"mask": np.zeros((2, 3), bool), "truth": np.zeros((3, 2), bool)}, "differ in shape"),
        ({"mask": np.zeros((2, 2), np.uint8), "truth": np.zeros((2, 2), bool)}, "must be boolean"),
        ({"heatmap": np.full((2, 2), 1.5), "forged": True}, "expected 0 to 1"),
        ({"heatmap": np.full((2, 2), np.nan), "forged": True}, "expected 0 to 1"),
        ({"heatmap": np.zeros((2, 2)), "mask": np.zeros((3, 3), bool), "forged": True}, "differ in shape"),
    ],
)
def test_input_that_does_not_fit(given: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ForgeryMetrics().update("a", **given)


def test_a_name_comes_once() -> None:
    metrics = ForgeryMetrics()
    metrics.update("a", mask=np.zeros((2, 2), bool), forged=False)
    with pytest.raises(DataError, match="scored before"):
        metrics.update("a", mask=np.zeros((2, 2), bool), forged=False)
