"""Answers as rows of the inference table: gathered where they are given, made JSON elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.serving.served_model import Answer

_STRUCTS = ("request", "features")


@dataclass(frozen=True)
class Served:
    """One request that was answered: when it came, and how long that took in milliseconds."""

    request_id: str
    endpoint: str
    at: datetime
    milliseconds: float
    answer: Answer

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.answer.request.height


@dataclass(frozen=True)
class Packed:
    """Answers of one form as rows of the inference table, with request and features as structs.

    Attributes
    ----------
    features
        The feature tables in the versions that were read for them.
    version
        The version of the model that answered.
    """

    frame: pl.DataFrame
    features: frozenset[TableVersion]
    version: int

    @classmethod
    def of(cls, batch: Sequence[Served]) -> Iterator[Packed]:
        """Pack answers, in their order.

        A thousand small frames, one by one, would take the interpreter from those who wait for an
        answer.
        """
        for _, group in groupby(batch, _form):
            some = list(group)
            predictions = [one.answer.prediction for one in some]
            used = frozenset(source for one in predictions for source in one.features)
            yield cls(_rows(some), used, predictions[0].version.version)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.frame.height


def _form(served: Served) -> Any:
    prediction = served.answer.prediction
    request, outputs = served.answer.request, prediction.outputs
    return prediction.version.version, request.columns, prediction.found.columns, outputs.schema


def _rows(batch: Sequence[Served]) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    predictions = [one.answer.prediction for one in batch]
    outputs = pl.concat([one.outputs for one in predictions])
    version = predictions[0].version
    predicted, nothing = outputs["prediction"], pl.repeat(None, outputs.height, eager=True)
    is_number = predicted.dtype.is_numeric() or predicted.dtype == pl.Boolean
    probability = outputs["probability"] if "probability" in outputs.columns else nothing
    known = {used: _versions(used) for used in {one.features for one in predictions}}

    counts = [one.rows for one in batch]
    answer_of_row = np.repeat(np.arange(len(batch)), counts)

    def each(name: str, of: Callable[[Served], Any], kind: Any) -> pl.Series:
        return pl.Series(name, [of(one) for one in batch], kind).gather(answer_of_row)

    return pl.DataFrame(
        [
            each("request_id", lambda one: one.request_id, pl.String),
            pl.Series("row", np.concatenate([np.arange(count) for count in counts]), pl.Int32),
            each("requested_at", lambda one: one.at, pl.Datetime("us", "UTC")),
            each("endpoint", lambda one: one.endpoint, pl.String),
            pl.repeat(version.name, outputs.height, eager=True).alias("model_name"),
            each("model_version", lambda _: version.version, pl.Int32),
            each("feature_versions", lambda one: known[one.answer.prediction.features], pl.String),
            _structs([one.answer.request for one in batch], None).alias("request"),
            _structs([one.found for one in predictions], version.feature_columns).alias("features"),
            (predicted if is_number else nothing).cast(pl.Float64).alias("prediction"),
            (nothing if is_number else predicted).cast(pl.String).alias("predicted_label"),
            probability.cast(pl.Float64).alias("probability"),
            each("milliseconds", lambda one: one.milliseconds, pl.Float64),
        ]
    )


def _versions(used: Sequence[TableVersion]) -> str:
    return json.dumps({source.table: source.version for source in used}, sort_keys=True)


def _structs(frames: Sequence[pl.DataFrame], columns: Sequence[str] | None) -> pl.Series:
    import polars as pl

    return pl.concat(frames).select(pl.struct(columns or pl.all())).to_series()


def as_written(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with request and features as JSON objects; moments in ISO 8601, UTC."""
    return rows.with_columns(_as_json(rows[name]) for name in _STRUCTS)


def _as_json(structs: pl.Series) -> pl.Series:
    import polars as pl

    moments = pl.selectors.datetime().dt.convert_time_zone("UTC").dt.to_string("iso:strict")
    shown = structs.struct.unnest().with_columns(moments)
    return shown.select(pl.struct(pl.all()).struct.json_encode().alias(structs.name)).to_series()
