"""A fitted encoder of texts as a table: what it gives for each text, looked up instead of asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CategoryCodes:
    """What an `OrdinalEncoder` gives for texts and None.

    The encoder checks and sorts all that it is given; for a hundred rows that takes longer than
    the prediction.

    Attributes
    ----------
    codes
        For each column its texts, and None if that was among them, with their codes.
    unknown
        The code of everything else.
    """

    codes: tuple[Mapping[str | None, float], ...]
    unknown: float

    @classmethod
    def of(cls, transformer: Any) -> CategoryCodes | None:
        """Ask an encoder for all of its texts; None if it is another one, or refuses new texts."""
        import numpy as np
        from sklearn.preprocessing import OrdinalEncoder

        if (
            not isinstance(transformer, OrdinalEncoder)
            or transformer.handle_unknown != "use_encoded_value"
        ):
            return None
        texts = [known.tolist() for known in transformer.categories_]
        asked = np.full((max(map(len, texts)), len(texts)), None, object)
        for number, some in enumerate(texts):
            asked[: len(some), number] = some
        given = transformer.transform(asked).T.tolist()
        codes = (dict(zip(some, row, strict=False)) for some, row in zip(texts, given, strict=True))
        return cls(tuple(codes), float(transformer.unknown_value))

    def transform(self, block: Any) -> Any:
        """Return the codes of an array of texts and None, a column for each of its columns."""
        import numpy as np

        found = np.empty(block.shape)
        for number, codes in enumerate(self.codes):
            found[:, number] = [codes.get(text, self.unknown) for text in block[:, number].tolist()]
        return found
