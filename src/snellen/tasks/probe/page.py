"""One page about trained heads: figures, each class, ROC curves, confusion, a map of the features, worst mistakes."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from snellen.data.pictures import read_picture
from snellen.errors import SnellenError
from snellen.ops.bootstrap import Interval
from snellen.report.chart import Series, line_chart
from snellen.report.html import Picture, Section, gallery, render_page, text_block, value_table
from snellen.report.scatter import MOST_GROUPS, scatter
from snellen.report.text import harmless
from snellen.tasks.probe.answers import HeadAnswers, Probed, answer_of
from snellen.tasks.probe.metrics import HeadFigures

__all__ = ["plane_of", "render_probe", "roc_curve"]

_MOST_CLASSES: Final = 24
_MOST_CURVES: Final = 4
_MOST_POINTS: Final = 1000
_MOST_MISTAKES: Final = 12
_MOST_NOTES: Final = 200
_SIDE: Final = 200
_MOST_PIXELS: Final = 60_000_000
_FEW: Final = 5

Floats = npt.NDArray[np.floating[Any]]


def render_probe(probed: Probed) -> str:
    """The page as HTML; its size is bounded, however many images there were."""
    sections = [Section("Figures", value_table([_figures(one) for one in probed.heads]))]
    plane, how = plane_of(probed.vectors.matrix[_sample(probed)])
    for head in probed.heads:
        sections += _about(head, probed, plane, how)
    notes = [harmless(one) for one in probed.notes[:_MOST_NOTES]]
    sections.append(Section("Notes", "".join(text_block(one) for one in notes) or text_block("None.")))
    subtitle = f"{len(probed.vectors.images)} images of {probed.split}; {probed.backbone}; 95% intervals"
    return render_page("Heads on frozen features", subtitle, sections)


def plane_of(vectors: Floats) -> tuple[npt.NDArray[np.float64], str]:
    """Two numbers for each vector, and what they are: t-SNE where scikit-learn is installed, else PCA.

    Args:
        vectors: Shape `(images, width)`.

    Example:
        >>> plane_of(np.zeros((2, 8)))[1]
        'the first two principal components'
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0) if len(vectors) else np.zeros((0, 2))
    if len(vectors) > _FEW:
        try:
            from sklearn.manifold import TSNE  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            left, strength, _ = np.linalg.svd(centred, full_matrices=False)
            reduced = (left * strength)[:, :50]
            if reduced.std() > 0:
                perplexity = min(30.0, (len(vectors) - 1) / 3)
                start = reduced[:, :2] / (reduced[:, 0].std() or 1.0) * 1e-4
                start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
                placed = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(reduced)
                return np.asarray(placed, np.float64), f"t-SNE of perplexity {perplexity:.0f}"
    if not len(vectors):
        return np.zeros((0, 2)), "nothing"
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    placed = (left * strength)[:, :2]
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1]))), "the first two principal components"


def roc_curve(scores: Floats, actual: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Points `(false positive rate, true positive rate)` for falling thresholds; equal scores go together.

    Example:
        >>> roc_curve(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
        [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], actual[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    found = np.cumsum(hits)[ends] / max(1, int(hits.sum()))
    wrong = np.cumsum(~hits)[ends] / max(1, int((~hits).sum()))
    return [(0.0, 0.0), *zip(wrong.tolist(), found.tolist(), strict=True)]


def _sample(probed: Probed) -> npt.NDArray[np.int64]:
    count = len(probed.vectors.images)
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(np.int64))


def _figures(head: HeadAnswers) -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "auc")
    found = head.figures
    return {
        "head": head.name,
        "images": 0 if found is None else found.images,
        **{name: "" if found is None else _told(found.figures[name]) for name in names},
    }


def _told(one: Interval) -> str:
    return "" if np.isnan(one.value) else str(one)


def _about(head: HeadAnswers, probed: Probed, plane: npt.NDArray[np.float64], how: str) -> list[Section]:
    name = harmless(head.name)
    if head.figures is None:
        return [Section(name, text_block("No image of this split has a label for this head."))]
    absent = f"Declared and never seen in training: {', '.join(head.classes.absent)}." if head.classes.absent else ""
    table = value_table(
        [
            {
                "class": harmless(one.name),
                "images": one.support,
                "trained_on": count,
                "precision": _told(one.precision),
                "recall": _told(one.recall),
                "f1": _told(one.f1),
                "auc": _told(one.auc),
            }
            for one, count in zip(head.figures.classes, head.classes.counts, strict=True)
        ]
    )
    sections = [Section(f"{name}: each class", (text_block(harmless(absent)) if absent else "") + table)]
    sections.append(Section(f"{name}: ROC", _curves(head)))
    matrix = _confusion if len(head.classes) <= _MOST_CLASSES else _confused
    sections.append(Section(f"{name}: confusion", matrix(head, head.figures)))
    sections.append(Section(f"{name}: map of the features", _map(head, probed, plane, how)))
    sections.append(Section(f"{name}: worst mistakes", _mistakes(head, probed)))
    return sections


def _curves(head: HeadAnswers) -> str:
    labelled = head.truth >= 0
    truth, scores = head.truth[labelled], head.probabilities[labelled]
    there = [number for number in range(len(head.classes)) if 0 < int((truth == number).sum()) < len(truth)]
    if len(head.classes) == 2:
        there = there[1:]
    series = [
        Series(harmless(head.classes.names[number]), roc_curve(scores[:, number], truth == number)) for number in there
    ]
    charts = [
        line_chart(series[start : start + _MOST_CURVES], x_label="false positives", y_label="true positives")
        for start in range(0, min(len(series), _MOST_CLASSES), _MOST_CURVES)
    ]
    if len(series) > _MOST_CLASSES:
        text = f"The first {_MOST_CLASSES} of {len(series)} classes; the areas under all curves stand in the table."
        charts.insert(0, text_block(text))
    return "".join(charts) or text_block("Only one class occurs here.")


def _confusion(head: HeadAnswers, found: HeadFigures) -> str:
    names = [harmless(name) for name in head.classes.names]
    rows = [
        {"truth / answer": name, **{column: int(count) for column, count in zip(names, counts, strict=True)}}
        for name, counts in zip(names, found.matrix, strict=True)
    ]
    return text_block("Rows are the truth, columns the answers.") + value_table(rows)


def _confused(head: HeadAnswers, found: HeadFigures) -> str:
    """What is taken for what most often, where the whole matrix would fill no page."""
    names = [harmless(name) for name in head.classes.names]
    wrong = found.matrix.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[: min(_MOST_CLASSES, int((wrong > 0).sum()))]
    pairs = [(int(place) // len(names), int(place) % len(names)) for place in most]
    text = f"The most frequent mistakes; the whole matrix of {len(names)} classes is in evaluation.json."
    rows = [{"truth": names[one], "answer": names[two], "images": int(wrong[one, two])} for one, two in pairs]
    return text_block(text) + (value_table(rows) if rows else "")


def _map(head: HeadAnswers, probed: Probed, plane: npt.NDArray[np.float64], how: str) -> str:
    rows = _sample(probed)
    names = (*head.classes.names, "no label")
    groups = [harmless(names[head.truth[row]]) for row in rows]
    titles = [harmless(f"{probed.vectors.images[row]}: {names[head.truth[row]]}") for row in rows]
    said = f"{len(rows)} images by {how} of their features, before any head; in the colour of their true class."
    if len(set(groups)) > MOST_GROUPS:
        said += " Some classes share a colour and a shape."
    return scatter([(float(x), float(y)) for x, y in plane], groups, titles) + text_block(said)


def _mistakes(head: HeadAnswers, probed: Probed) -> str:
    wrong = np.flatnonzero((head.truth >= 0) & (head.probabilities.argmax(axis=1) != head.truth))
    surest = wrong[np.argsort(-head.probabilities[wrong].max(axis=1), kind="stable")][:_MOST_MISTAKES]
    pictures = []
    for row in surest:
        answer, probability = answer_of(head.classes, head.probabilities[row])
        image = probed.vectors.images[row]
        caption = f"{image}: {head.classes.names[head.truth[row]]}, answered {answer} ({probability:.0%})"
        content = _thumbnail(image)
        if content:
            pictures.append(Picture(content, harmless(caption)))
    return text_block(f"{len(wrong)} mistakes; the surest first.") + gallery(pictures)


def _thumbnail(path: str) -> bytes:
    try:
        picture = read_picture(path, max_pixels=_MOST_PIXELS).image.convert("RGBA").convert("RGB")
    except (SnellenError, OSError, ValueError):
        return b""
    scale = _SIDE / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    method = 0 if scale > 1 else 2  # nearest, so that small pictures stay crisp; bilinear
    file = io.BytesIO()
    picture.resize((size[0], size[1]), method).save(file, "PNG")
    return file.getvalue()
