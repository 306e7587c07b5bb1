"""What predictions are compared with: the rows that the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import NotFoundError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.inference.predictor import Predictor
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.registry import ModelVersion

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SAMPLE_ROWS = 200_000
_SHUFFLED_ROWS = 5_000
_SEED = 20_260_101
_INDEX = "number of the row"
_AT_ONCE = 8
_PREDICTED_AT_ONCE = 20_000


@dataclass(frozen=True)
class Reference:
    """The rows of a training set that a model was fitted on.

    Of a model of an experiment these are those of the split's part `train`; of a logged model all
    rows of the training set, since nothing else is known.
    """

    lake: Lakehouse
    model: ModelVersion

    @property
    def table(self) -> Snapshot:
        """The training set in its version.

        Raises
        ------
        NotFoundError
            It is not there any more.
        """
        return self.lake.read(self.model.training_set, self.model.training_set_version)

    def scan(self) -> pl.LazyFrame:
        """Scan the rows."""
        import polars as pl

        rows = self.table.scan()
        config: dict[str, Any] = self.model.record.get("config") or {}
        period = config.get("split", {}).get("train", {})
        timestamp = config.get("training_set", {}).get("timestamp")
        if timestamp is None:
            return rows
        moment = pl.col(timestamp)
        if period.get("from"):
            rows = rows.filter(moment >= _instant(period["from"]))
        return rows.filter(moment < _instant(period["until"])) if period.get("until") else rows

    @cached_property
    def rows(self) -> int:
        """How many rows there are.

        Raises
        ------
        NotFoundError
            None is left.
        """
        import polars as pl

        count = int(self.scan().select(pl.len()).collect(engine="streaming").item())
        if not count:
            raise NotFoundError(
                f"{self.model.training_set} has no row that {self.model} was trained on, so there "
                "is nothing to compare with. Train again."
            )
        return count

    @cached_property
    def sample(self) -> pl.DataFrame:
        """At most 200,000 rows at even distances."""
        import polars as pl

        every = pl.col(_INDEX) % -(-self.rows // SAMPLE_ROWS) == 0
        rows = self.scan()
        return pl.concat(
            [
                rows.select(names)
                .with_row_index(_INDEX)
                .filter(every)
                .drop(_INDEX)
                .collect(engine="streaming")
                for names in columns_at_once(list(dict.fromkeys(self.model.feature_columns)))
            ],
            how="horizontal",
        )

    def probabilities(self) -> pl.Series | None:
        """Return what the model says of the sample; None if it gives no probabilities."""
        import polars as pl

        some = self.sample.iter_slices(_PREDICTED_AT_ONCE)
        outputs = pl.concat([self._predictor.outputs(rows) for rows in some])
        return outputs["probability"] if "probability" in outputs.columns else None

    def importances(self) -> dict[str, float]:
        """Return how much the model uses each feature; they add up to 1.

        The mean change of the predicted probability when the feature's values are shuffled among
        the rows, which no label is needed for: after Breiman, L. (2001), Random forests, Machine
        Learning 45(1), and the model reliance of Fisher, A., Rudin, C. and Dominici, F. (2019), All
        models are wrong, but many are useful, JMLR 20(177). Two features that say the same share
        their importance.
        """
        import numpy as np

        draw = np.random.default_rng(_SEED)
        rows = self.sample.gather_every(max(1, self.sample.height // _SHUFFLED_ROWS))
        before = self._scores(rows)
        changes = {}
        for name in self.model.feature_columns:
            order = draw.permutation(rows.height)
            shuffled = rows.with_columns(rows[name].gather(order))
            changes[name] = float(np.abs(self._scores(shuffled) - before).mean())
        total = sum(changes.values()) or 1.0
        return {name: change / total for name, change in changes.items()}

    def _scores(self, rows: pl.DataFrame) -> np.ndarray[Any, Any]:
        import polars as pl

        scores = self._predictor.outputs(rows).to_series(0)
        if scores.dtype.is_numeric():
            return scores.cast(pl.Float64).to_numpy()
        return scores.rank("dense").cast(pl.Float64).to_numpy()

    @cached_property
    def _predictor(self) -> Predictor:
        spec = TrainingSetSpec.model_validate(self.model.recipe)
        return Predictor(self.lake, self.model, spec)


def columns_at_once(columns: Sequence[str]) -> list[Sequence[str]]:
    """Return the columns in groups: the reader holds several row groups of all that it reads."""
    return [columns[first : first + _AT_ONCE] for first in range(0, len(columns), _AT_ONCE)]


def _instant(text: str) -> pl.Expr:
    from datetime import datetime

    import polars as pl

    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return pl.lit(moment).cast(pl.Datetime("us", "UTC"))
