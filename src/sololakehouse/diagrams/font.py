"""The handwriting in diagrams: how wide it is, and the part of the font that a picture carries.

Excalifont is under the SIL Open Font License 1.1; its text lies beside the font.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

FAMILY = "Excalifont"
LINE_HEIGHT = 1.25
_FONT = files("sololakehouse.diagrams") / "fonts" / "Excalifont-Regular.woff"
_FOREIGN_WIDTH = 1.0
"""Of letters that the font lacks, in parts of the font size: another font draws them."""


def text_size(lines: Sequence[str], size: float) -> tuple[float, float]:
    """Return width and height of lines of text in a font size, in pixels, without kerning."""
    return max((_width(line) for line in lines), default=0.0) * size, (
        len(lines) * size * LINE_HEIGHT
    )


def baseline(size: float) -> float:
    """Return how far below the top of its line a text's baseline is, in pixels."""
    ascent, descent, units = _metrics()[1:]
    return (size * LINE_HEIGHT + size * (ascent + descent) / units) / 2


def font_part(texts: Iterable[str]) -> str:
    """Return the font with the letters of some texts alone, as base64 of TrueType.

    It is not compressed: then the same letters give the same bytes with every version of zlib.
    """
    from fontTools.subset import Options, Subsetter

    font = _opened()
    options = Options(
        hinting=False,
        layout_features=[],
        name_IDs=[0, 1, 14],
        notdef_outline=True,
        glyph_names=False,
        drop_tables=["GPOS", "GSUB", "GDEF", "FFTM", "gasp"],
    )
    cutter = Subsetter(options)
    cutter.populate(text="".join(sorted(set().union(*texts))))
    cutter.subset(font)
    font.flavor = None
    whole = io.BytesIO()
    font.save(whole)
    return base64.b64encode(whole.getvalue()).decode()


def _width(line: str) -> float:
    widths = _metrics()[0]
    return sum(widths.get(letter, _FOREIGN_WIDTH) for letter in line)


@cache
def _metrics() -> tuple[dict[str, float], int, int, int]:
    """Return the width of each letter in parts of the font size, ascent, descent, units."""
    font = _opened()
    units = font["head"].unitsPerEm
    advances = font["hmtx"].metrics
    widths = {chr(code): advances[name][0] / units for code, name in font.getBestCmap().items()}
    return widths, font["hhea"].ascent, font["hhea"].descent, units


def _opened() -> Any:
    from fontTools.ttLib import TTFont

    return TTFont(io.BytesIO(_FONT.read_bytes()), recalcTimestamp=False)
