"""Two models on the same rows: the gates that compare a version with the one in production."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.config.validation import validate
from sololakehouse.errors import NotFoundError, RunError, SoloLakehouseError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import lookup_features
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.batches import rows_held
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.gate_settings import GateSettings
from sololakehouse.models.gates import GateResult, training_set_of
from sololakehouse.models.inputs import model_input
from sololakehouse.models.intervals import Interval, Measure, resampled
from sololakehouse.models.metrics import THRESHOLD, Metric
from sololakehouse.models.model_store import load_model
from sololakehouse.models.split import cut_by_time, splitting_columns
from sololakehouse.models.versions import BASELINE, ModelVersion, versions_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

_ROW = "__row"
_SHOWN = 3


@dataclass(frozen=True)
class _Rival:
    """What a version is compared with: what is in production, else the baseline of its run."""

    version: ModelVersion
    title: str


@dataclass(frozen=True)
class _Pair:
    """The test rows of a version's training set, and what it and its rival predict for them.

    `sliced` holds the columns by which slices are made.
    """

    experiment: Experiment
    sliced: pl.DataFrame
    truth: np.ndarray[Any, Any]
    mine: np.ndarray[Any, Any]
    theirs: np.ndarray[Any, Any]
    thresholds: tuple[float, float]

    @property
    def metric(self) -> Metric:
        return self.experiment.primary_metric

    def gain(self, kept: np.ndarray[Any, Any] | None = None) -> tuple[float, Interval]:
        """Return how much better the version is than its rival, with the paired interval.

        Parameters
        ----------
        kept
            Which rows to compare on, shape (n,) of booleans; None: all.
        """
        import numpy as np

        kept = np.ones(len(self.truth), bool) if kept is None else kept
        truth = self.truth[kept]
        measures = [
            Measure(self.metric, probability[kept], threshold)
            for probability, threshold in zip(
                (self.mine, self.theirs), self.thresholds, strict=True
            )
        ]
        sign = 1 if self.metric.greater_is_better else -1
        mine, theirs = resampled(truth, measures, self.experiment.seed)
        exact = [self._value(truth, measure) for measure in measures]
        return sign * (exact[0] - exact[1]), Interval.of(sign * (mine - theirs))

    def _value(self, truth: np.ndarray[Any, Any], measure: Measure) -> float:
        from sklearn import metrics as library

        classes = (measure.probability >= measure.threshold).astype(int)
        given = classes if self.metric.of_classes else measure.probability
        return float(getattr(library, self.metric.function)(truth, given))


def compared_gates(
    lake: Lakehouse, version: ModelVersion, settings: GateSettings
) -> list[GateResult]:
    """Ask whether a version's files are intact, and it is no worse than what is in production.

    Both models predict the test rows of the version's training set. Slices are compared with the
    baseline if nothing is in production.
    """
    versions = versions_of(lake, version.name)
    champion = next((one for one in versions if one.stage == "production"), None)
    rival = _rival(versions, version, champion)
    try:
        model = load_model(lake.project, version)
    except SoloLakehouseError as error:
        unknown = ["champion", *(["slices"] if settings.slices else [])]
        said = "The model cannot be loaded."
        others = [GateResult(name, "not available", said) for name in unknown]
        return [GateResult("artifacts", "failed", str(error)), *others]
    pair: _Pair | SoloLakehouseError | None = None
    if rival is not None and (champion is not None or settings.slices):
        pair = _predicted(lake, version, model, rival, settings)
    results = [_intact_gate(version), _champion_gate(champion, pair, settings)]
    if settings.slices:
        results.append(_slices_gate(rival, pair, settings))
    return results


def _intact_gate(version: ModelVersion) -> GateResult:
    """Say of a version that was loaded whether its files were held to their hashes."""
    known = version.record.get("artifacts")
    if not known:
        said = "Its files were not hashed at registration."
        return GateResult("artifacts", "not available", said)
    said = f"{len(known)} files have the SHA-256 of their registration."
    return GateResult("artifacts", "passed", said, {"files": known})


def _rival(
    versions: Sequence[ModelVersion], version: ModelVersion, champion: ModelVersion | None
) -> _Rival | None:
    if champion is not None:
        return _Rival(champion, f"{champion} in production")
    for other in reversed(versions):
        beside = (other.run_id, other.fingerprint) == (version.run_id, version.fingerprint)
        if other.role == BASELINE and beside and other != version:
            return _Rival(other, f"the baseline (version {other.version})")
    return None


def _predicted(
    lake: Lakehouse, version: ModelVersion, model: Any, rival: _Rival, settings: GateSettings
) -> _Pair | SoloLakehouseError:
    try:
        config = version.record.get("config")
        if not config:
            return RunError(
                f"Nothing says which rows {version} was tested on: it was not trained by "
                "'slh train', or by an older version of it. Train it again with 'slh train FILE "
                "--force'."
            )
        experiment = validate(config, Experiment, f"the record of {version}")
        rows = _TestRows.of(lake, version, experiment)
        return _Pair(
            experiment,
            rows.columns(settings.slices),
            rows.truth,
            _chances(lake, rows, version, model),
            _chances(lake, rows, rival.version, load_model(lake.project, rival.version)),
            (threshold_of(version), threshold_of(rival.version)),
        )
    except SoloLakehouseError as error:
        return error


def threshold_of(version: ModelVersion) -> float:
    """Return from which probability on a version says 1."""
    return float(version.record.get("threshold", THRESHOLD))


@dataclass(frozen=True)
class _TestRows:
    """The rows of the test part of a version's training set, of which some are read at a time.

    Attributes
    ----------
    numbers
        Their places in the training set, ascending, shape (n,).
    truth
        Their labels, shape (n,).
    at_once
        Rows of the training set that are read at once.
    """

    saved: Snapshot
    numbers: np.ndarray[Any, Any]
    truth: np.ndarray[Any, Any]
    at_once: int

    @classmethod
    def of(cls, lake: Lakehouse, version: ModelVersion, experiment: Experiment) -> _TestRows:
        saved = training_set_of(lake, version)
        decisive = saved.scan().select(splitting_columns(experiment))
        parts = cut_by_time(decisive.with_row_index(_ROW).collect(), experiment, (_ROW,))
        test = {part.name: part for part in parts}["test"]
        at_once = rows_held(saved, lake.project.settings.memory_limit) or max(1, saved.rows)
        return cls(saved, test.rows[_ROW].to_numpy(), test.labels, at_once)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Read some columns of all test rows."""
        for name in names:
            if name not in self.saved.columns:
                raise NotFoundError.of("column", name, self.saved.columns, where="gates.slices")
        numbered = self.saved.scan().with_row_index(_ROW).select(_ROW, *names)
        return numbered.collect()[self.numbers]

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Give the test rows with all columns, block by block."""
        import numpy as np

        rows = self.saved.scan()
        for begin in range(0, self.saved.rows, self.at_once):
            ends = np.searchsorted(self.numbers, [begin, begin + self.at_once])
            mine = self.numbers[slice(*ends)] - begin
            if len(mine):
                yield rows.slice(begin, self.at_once).collect()[mine]


def _chances(
    lake: Lakehouse, rows: _TestRows, version: ModelVersion, model: Any
) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.concatenate([_predicted_block(lake, one, version, model) for one in rows.blocks()])


def _predicted_block(
    lake: Lakehouse, rows: pl.DataFrame, version: ModelVersion, model: Any
) -> np.ndarray[Any, Any]:
    """Predict; features that the rows lack are looked up by the version's own recipe."""
    if not set(version.feature_columns) <= set(rows.columns):
        spec = TrainingSetSpec.model_validate(version.recipe)
        rows, _ = lookup_features(lake, rows, spec)
    try:
        chances: np.ndarray[Any, Any] = model.predict_proba(
            model_input(rows, version.feature_columns)
        )[:, 1]
    except (TypeError, ValueError, AttributeError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise RunError(
            f"{version} cannot predict the test rows: {said}. It was fitted on other columns or "
            "values: look at the rows of the training set."
        ) from error
    return chances


def _champion_gate(
    champion: ModelVersion | None,
    pair: _Pair | SoloLakehouseError | None,
    settings: GateSettings,
) -> GateResult:
    if champion is None:
        return GateResult("champion", "not available", "Nothing is in production yet.")
    if not isinstance(pair, _Pair):
        return GateResult("champion", "failed", f"It cannot be compared with {champion}. {pair}")
    gain, interval = pair.gain()
    ends = f"{interval.low:+.4f} to {interval.high:+.4f}"
    said = (
        f"{pair.metric.name} on {len(pair.truth):,} rows against {champion} in production: "
        f"{_in_words(gain)} (95 % interval of the gain {ends})."
    )
    evidence = {
        "metric": pair.metric.name,
        "rows": len(pair.truth),
        "champion": champion.version,
        "gain": gain,
        "low": interval.low,
        "high": interval.high,
    }
    if settings.max_loss is None:
        passed = interval.high >= 0
    else:
        passed = interval.low >= -settings.max_loss
        said += f" A loss of {settings.max_loss} is allowed."
    return GateResult("champion", "passed" if passed else "failed", said, evidence)


def _in_words(gain: float) -> str:
    if gain == 0:
        return "equal"
    return f"{'better' if gain > 0 else 'worse'} by {abs(gain):.4f}"


def _slices_gate(
    rival: _Rival | None, pair: _Pair | SoloLakehouseError | None, settings: GateSettings
) -> GateResult:
    if rival is None:
        return GateResult("slices", "not available", "There is no model to compare with.")
    if not isinstance(pair, _Pair):
        return GateResult("slices", "failed", f"It cannot be compared with {rival.title}. {pair}")
    judged = list(_slices(pair, settings))
    measured = [one for one in judged if one["gain"] is not None]
    bad = [one for one in measured if one["failed"]]
    few = len(judged) - len(measured)
    evidence = {"rival": rival.version.version, "metric": pair.metric.name, "slices": judged}
    skipped = f" {few} are too small to judge." if few else ""
    if not measured:
        return GateResult("slices", "not available", f"No slice is judged.{skipped}", evidence)
    if not bad:
        said = (
            f"On none of {len(measured)} slices is {pair.metric.name} worse than that of "
            f"{rival.title} by more than {settings.max_slice_loss}.{skipped}"
        )
        return GateResult("slices", "passed", said, evidence)
    worst = sorted(bad, key=lambda one: one["gain"])[:_SHOWN]
    listed = "; ".join(
        f"{one['slice']} by {-one['gain']:.4f} ({one['rows']:,} rows)" for one in worst
    )
    said = (
        f"On {len(bad)} of {len(measured)} slices {pair.metric.name} is worse than that of "
        f"{rival.title} by more than {settings.max_slice_loss}: {listed}.{skipped}"
    )
    return GateResult("slices", "failed", said, evidence)


def _slices(pair: _Pair, settings: GateSettings) -> Iterator[dict[str, Any]]:
    """Judge each slice: it fails if it lost more than is allowed, and not by chance.

    Not by chance means that the whole 95 % interval of the difference is below 0.
    """
    for column in settings.slices:
        values = pair.sliced[column]
        for value in values.unique().sort().to_list():
            kept = values.eq_missing(value).to_numpy()
            about = {"slice": f"{column} = {value}", "rows": int(kept.sum())}
            truth = pair.truth[kept]
            if len(truth) < settings.min_slice_rows or len(set(truth.tolist())) < 2:
                yield about | {"gain": None}
                continue
            gain, interval = pair.gain(kept)
            lost = gain < -settings.max_slice_loss and interval.high < 0
            yield about | {
                "gain": gain,
                "low": interval.low,
                "high": interval.high,
                "failed": lost,
            }
