"""One model version with its features in memory, ready to answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Required

from sololakehouse.errors import RequestError, RunError, SoloLakehouseError
from sololakehouse.features.computed import plan_functions
from sololakehouse.features.identity import functions_of
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import FeatureTable, open_tables
from sololakehouse.inference.predictor import Prediction, Predictor
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import ModelVersion, load_model
from sololakehouse.serving.array_model import ArrayModel
from sololakehouse.serving.fields import closed_dict, fields_of, list_of
from sololakehouse.serving.online_features import Found, OnlineFeatures, newest_tables
from sololakehouse.serving.online_lookup import HistoryNeededError

if TYPE_CHECKING:
    import polars as pl
    from pydantic import TypeAdapter

_SAMPLE = 256
_UNKNOWN = "a text that nobody knows"


@dataclass(frozen=True)
class Answer:
    """What a request gave: its rows with what was looked up, and the predictions."""

    request: pl.DataFrame
    found: Found
    prediction: Prediction


class ServedModel:
    """A model version, its predictor, and its features in memory.

    Attributes
    ----------
    features
        Replaced as a whole when a feature table has a new version.
    """

    def __init__(self, lake: Lakehouse, version: ModelVersion) -> None:
        self.version = version
        self._bodies: dict[int, TypeAdapter[Any]] = {}
        self.loaded_at = datetime.now(UTC)
        self.training_set = lake.read(version.training_set, version.training_set_version)
        self._spec = TrainingSetSpec.model_validate(version.recipe)
        tables = open_tables(lake, self._spec.feature_lookups)
        functions = functions_of(lake, self._spec)
        columns = version.feature_columns
        self.fields = fields_of(self._spec, columns, self.training_set, tables, functions)
        made = {one.output for one in self._spec.feature_functions}
        types = {name: kind for name, kind in self.fields.types.items() if name not in made}
        planned = plan_functions(self._spec.feature_functions, functions.udfs, types, "the request")
        self.features = OnlineFeatures.load(
            self._spec, tables, tuple(planned), self.fields.asked, self.loaded_at
        )
        model = load_model(lake.project, version)
        self.gives_scores = not type(model).__module__.startswith("xgboost")
        fast = ArrayModel.of(model, columns, _sample(self.training_set, columns))
        self.predictor = Predictor(
            lake,
            version,
            self._spec,
            fast or model,
            fast.as_input if fast else model_input,
        )
        self.on_arrays = fast is not None

    @property
    def name(self) -> str:
        """Name of the registered model."""
        return self.version.name

    @property
    def has_functions(self) -> bool:
        """Whether a request may run a person's functions, which take any time."""
        return bool(self.features.functions)

    @cached_property
    def input_types(self) -> dict[str, str]:
        """The model's inputs with their Polars types, in its order."""
        schema = self.training_set.schema
        return {name: str(schema[name]) for name in self.version.feature_columns}

    def example(self) -> dict[str, Any]:
        """Return a row that `/predict` answers: of the training set, with keys that are there."""
        known = {name: key for one in reversed(self.features.lookups) for name, key in one.a_key()}
        first = self.training_set.scan().head(1).collect().to_dicts()
        known |= first[0] if first else {}
        return {name: known.get(name) for name in self.fields.of_role("key", "input")}

    def prepare(self, most_rows: int) -> None:
        """Answer the example once: the first request waits for no import and no validator."""
        from pydantic import ValidationError
        from pydantic_core import to_json

        _ = self.fields.loose_rows
        body = self.predict_body(most_rows)
        if self.has_functions:
            return
        with suppress(ValidationError, HistoryNeededError, SoloLakehouseError):
            rows = body.validate_json(to_json({"rows": [self.example()]}))["rows"]
            self.answer(rows, datetime.now(UTC), history=False)

    def predict_body(self, most_rows: int) -> TypeAdapter[Any]:
        """Return what validates the body of `/predict`; it is built once."""
        if most_rows not in self._bodies:
            self._bodies[most_rows] = self._body(most_rows)
        return self._bodies[most_rows]

    def _body(self, most_rows: int) -> TypeAdapter[Any]:
        from pydantic import Strict, TypeAdapter

        rows = list_of(self.fields.row, 1, most_rows)
        flag = Annotated[bool, Strict()]
        fields = {"rows": Required[rows], "with_features": NotRequired[flag]}
        return TypeAdapter(closed_dict("PredictRequest", fields))

    def answer(self, rows: list[dict[str, Any]], now: datetime, *, history: bool) -> Answer:
        """Look up and predict for validated rows.

        Parameters
        ----------
        now
            The moment of rows that bring none.
        history
            Whether feature tables may be read for moments in the past.

        Raises
        ------
        RequestError
            Fields are missing, or the model refuses the values of a row.
        HistoryNeededError
            A feature table would have to be read.
        FunctionFailedError
            A function failed on a row.
        RunError
            A feature table cannot be read.
        """
        request = self.fields.frame(rows, now)
        found = self.features.look_up(request, history=history)
        try:
            return Answer(request, found, self.predictor.predict_found(found.rows, found.used))
        except RunError as error:
            raise RequestError(str(error)) from error

    def scores(self, answer: Answer) -> Any:
        """Return what `mlflow models serve` gives for an answer."""
        if not self.gives_scores:
            return answer.prediction.outputs["prediction"].to_list()
        known = answer.prediction.scores
        scores = self.predictor.scores(answer.found.rows) if known is None else known
        return scores.tolist() if hasattr(scores, "tolist") else list(scores)

    def refresh(self, lake: Lakehouse) -> list[FeatureTable]:
        """Take the newest versions of feature tables into memory; return those that are new."""
        taken = newest_tables(lake, self.features)
        for table in taken:
            now = datetime.now(UTC)
            self.features = self.features.with_table(table, self._spec, self.fields.asked, now)
        return taken


def _sample(training_set: Snapshot, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return rows to hold two ways of predicting against each other, with the odd ones."""
    import polars as pl

    rows = training_set.scan().select(columns).head(_SAMPLE).collect()
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    odd = rows.head(1).with_columns(pl.lit(_UNKNOWN).alias(name) for name in texts)
    return pl.concat([rows, rows.clear(1), odd])
