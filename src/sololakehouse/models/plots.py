"""Plots of a model on the test part, as figures without any display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 20
_BINS = 10


def roc(truth: np.ndarray, probability: np.ndarray) -> Figure:
    """Draw true positives over false positives."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, probability)
    figure, axes = _figure("ROC", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    axes.plot(false, true)
    return figure


def precision_recall(truth: np.ndarray, probability: np.ndarray) -> Figure:
    """Draw precision over recall; the dashed line is the share of the label 1."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, probability)
    figure, axes = _figure("Precision and recall", "recall", "precision")
    axes.axhline(float(truth.mean()), color="0.7", linestyle="--")
    axes.plot(recall, precision)
    return figure


def calibration(truth: np.ndarray, probability: np.ndarray) -> Figure:
    """Draw the share of the label 1 over the predicted probability, in ten equal groups."""
    from sklearn.calibration import calibration_curve

    share, mean = calibration_curve(truth, probability, n_bins=_BINS, strategy="quantile")
    figure, axes = _figure("Calibration", "predicted probability", "observed share")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    axes.plot(mean, share, marker="o")
    return figure


def confusion(counts: Mapping[str, Any]) -> Figure:
    """Draw how many rows a threshold tells right and wrong, as `report.confusion_at` counts."""
    cells = [
        [counts["true_negatives"], counts["false_positives"]],
        [counts["false_negatives"], counts["true_positives"]],
    ]
    title = f"Confusion at {counts['threshold']:.3g}"
    figure, axes = _figure(title, "predicted", "true")
    axes.imshow(cells, cmap="Blues", vmin=0)
    axes.set(xticks=[0, 1], yticks=[0, 1])
    dark = max(map(max, cells)) / 2
    for row, numbers in enumerate(cells):
        for column, count in enumerate(numbers):
            color = "white" if count > dark else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
    return figure


def importance(weights: Mapping[str, float]) -> Figure:
    """Draw the greatest weights of the features."""
    top = sorted(weights, key=lambda name: (-weights[name], name))[:_SHOWN][::-1]
    figure, axes = _figure("Importance", "weight", "")
    axes.barh(top, [weights[name] for name in top])
    return figure


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes
