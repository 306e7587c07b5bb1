from __future__ import annotations

import io

import numpy as np
import pytest

from sololakehouse.models import plots

TRUTH = np.array([0, 1] * 50)
EVEN = np.linspace(0, 1, 100)
CONSTANT = np.full(100, 0.3)


@pytest.mark.parametrize("draw", [plots.roc, plots.precision_recall, plots.calibration])
@pytest.mark.parametrize("probability", [EVEN, CONSTANT], ids=["spread", "constant"])
def test_a_plot_is_drawn_without_a_display(draw, probability):
    figure = draw(TRUTH, probability)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_importance_shows_the_greatest_twenty_from_the_top():
    figure = plots.importance({f"f{number}": float(number) for number in range(30)})
    (axes,) = figure.axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(shown), shown[0], shown[-1]) == (20, "f10", "f29")
