"""Commands about predictions that were made: `slh evaluate` and `slh drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.output_file import refuse_place, whole_file
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sololakehouse.lake import Lakehouse
    from sololakehouse.monitoring.drift import Drift
    from sololakehouse.monitoring.evaluation import Evaluation
    from sololakehouse.monitoring.predictions import Predictions

ALARM_CODE = 3
_MOST_COLUMNS = 8
_DRIFT_COLUMNS = (
    *(
        "period",
        "against",
        "column",
        "rows",
        "value",
        "was",
        "psi",
        "importance",
        "impact",
        "state",
    ),
    "why",
)
_MEASURES = ("roc_auc", "average_precision", "brier", "calibration_error", "cost")
_COUNTED = ("rows", "unknown", "share_positive")

_predictions = click.option("--predictions", metavar="TABLE", help="The table that holds them.")
_labels = click.option("--labels", metavar="TABLE", help="The table with the answers.")
_keys = click.option("--keys", metavar="COLUMNS", help="What identifies a row, comma-separated.")
_period = click.option(
    "--period",
    type=click.Choice(["day", "week", "month", "quarter", "year"]),
    help="In UTC. Default: what the job says, or month.",
)
_html = click.option("--html", type=click.Path(path_type=Path), help="Write a report for people.")
_force = click.option("--force", is_flag=True, help="Replace the report if it exists.")


@click.command()
@click.argument("what")
@click.option("--against", metavar="MODEL", help="A challenger, as NAME@staging.")
@_predictions
@_labels
@_keys
@_period
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Measure each value.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="From where on 1 is predicted.")
@click.option("--cost-false-positive", type=click.FloatRange(0), help="Cost of a false 1.")
@click.option("--cost-false-negative", type=click.FloatRange(0), help="Cost of a missed 1.")
@_html
@_force
@as_json
def evaluate(
    what: str,
    against: str | None,
    predictions: str | None,
    html: Path | None,
    force: bool,
    json_wanted: bool,
    **settings: Any,
) -> None:
    """Compare stored predictions with the labels that are known by now.

    WHAT is a scoring job of lakehouse.yml or a model, as NAME@production. Metrics have 95 %
    intervals and go to monitoring.evaluations and MLflow. Labels that are not known yet are
    counted; when they come, evaluate again.

    \b
    Examples:
      slh evaluate november_december
      slh evaluate flight_delay@production --slice carrier --html evaluation.html
      slh evaluate flight_delay@2 --against flight_delay@1 --labels gold.flight_labels
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.monitoring import evaluate as evaluate_predictions
    from sololakehouse.monitoring.evaluation_report import evaluation_html

    if html is not None:
        refuse_place(html, force)
    lake = Lakehouse.open()
    asked = asked_predictions(lake, what, predictions, settings, "evaluation")
    with recorded(lake, "evaluate", what) as log:
        log.begin(f"evaluate {what}", "monitoring.evaluations")
        result = evaluate_predictions(lake, log.writer, asked, against)
        log.end(result.snapshot)
    if html is not None:
        with whole_file(html, force) as file:
            file.write_text(evaluation_html(result.rows), "utf-8")
    if result.not_logged:
        click.secho(f"Not in MLflow: {result.not_logged}", fg="yellow", err=True)
    if json_wanted:
        print_json({"model": str(result.model), "rows": list(result.rows)})
        return
    _print_evaluation(result)
    if html is not None:
        print_line(f"Report: {html}")


def _print_evaluation(result: Evaluation) -> None:
    with_roles = result.against is not None
    rows = [
        {
            "part": row["period"] or (f"{row['slice']}={row['value']}" if row["slice"] else "all"),
            "role": row["role"],
            **{name: row[name] for name in (*_COUNTED, *_MEASURES)},
            "95 % of roc_auc": _limits(row),
        }
        for row in result.rows
    ]
    shown = ["part", *(["role"] if with_roles else []), *_COUNTED, "roc_auc", "95 % of roc_auc"]
    print_table(rows, [*shown, *_MEASURES[1:]])
    if result.up_to_date:
        print_line("Up to date: predictions, labels and settings are those of that evaluation.")


def _limits(row: dict[str, Any]) -> str | None:
    low, high = row["roc_auc_low"], row["roc_auc_high"]
    return None if low is None else f"{low:.4f} to {high:.4f}"


@click.command()
@click.argument("what")
@_predictions
@_labels
@_keys
@_period
@_html
@_force
@as_json
def drift(
    what: str,
    predictions: str | None,
    html: Path | None,
    force: bool,
    json_wanted: bool,
    **settings: Any,
) -> int:
    """Hold what a model predicts for against what it was trained on.

    WHAT is a scoring job of lakehouse.yml or a model, as NAME@production. Each period is held
    against the training rows and against the period before; what matters to the model most comes
    first. The result goes to monitoring.drift. Exit code 3: the newest period with enough rows has
    an alarm.

    \b
    Examples:
      slh drift november_december
      slh drift flight_delay@production --period week --html drift.html
      slh drift flight_delay@production --json || mail -s "flight_delay drifts" me
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.monitoring import drift as look_at
    from sololakehouse.monitoring.drift_report import drift_html

    if html is not None:
        refuse_place(html, force)
    lake = Lakehouse.open()
    asked = asked_predictions(lake, what, predictions, settings, "drift")
    with recorded(lake, "drift", what) as log:
        log.begin(f"drift {what}", "monitoring.drift")
        result = look_at(lake, log.writer, asked)
        log.end(result.snapshot)
    if html is not None:
        with whole_file(html, force) as file:
            file.write_text(drift_html(result.rows), "utf-8")
    if json_wanted:
        said = {"model": str(result.model), "newest_period": result.newest_period}
        print_json(said | {"alarms": len(result.alarms), "rows": list(result.rows)})
    else:
        _print_drift(result)
        if html is not None:
            print_line(f"Report: {html}")
    return ALARM_CODE if result.alarms else 0


def _print_drift(result: Drift) -> None:
    print_table(drift_rows(result.rows), list(_DRIFT_COLUMNS))
    if result.newest_period is None:
        print_line("No period has enough rows to be judged.")
    elif not result.alarms:
        print_line(f"No alarm in {result.newest_period}.")
    else:
        print_line(f"{len(result.alarms)} alarms in {result.newest_period}.")
    if result.up_to_date:
        print_line("Up to date: predictions, labels and settings are those of that look.")


def drift_rows(rows: Iterable[dict[str, Any]], most: int = _MOST_COLUMNS) -> list[dict[str, Any]]:
    """Return what changed in each period, what matters most first; of a period at most so many."""
    shown: list[dict[str, Any]] = []
    by_period: dict[tuple[str, str], int] = {}
    for row in rows:
        place = (row["period"], row["against"])
        changed = row["state"] in ("warning", "alarm") or row["kind"] != "feature"
        if changed and by_period.setdefault(place, 0) < most:
            by_period[place] += 1
            against = row["against_period"] or row["against"]
            shown.append({**row, "against": against, "was": row["reference_value"]})
    return shown


def asked_predictions(
    lake: Lakehouse, what: str, table: str | None, settings: dict[str, Any], section: str
) -> Predictions:
    """Open the predictions of a job or model, with the settings that options set otherwise.

    Parameters
    ----------
    settings
        Options by name: `labels` and `keys` of the job, the others of its section.
    section
        `evaluation` or `drift`.
    """
    from dataclasses import replace

    from sololakehouse.config import ScoringJob
    from sololakehouse.config.validation import validate
    from sololakehouse.errors import NotFoundError, UsageError
    from sololakehouse.monitoring.predictions import Predictions

    jobs = lake.project.settings.scoring
    if "@" in what or what.startswith("models:/"):
        found = Predictions.of_model(lake, what, table)
    elif what not in jobs:
        raise NotFoundError.of("scoring job", what, jobs)
    elif table is not None:
        raise UsageError(
            f"The job {what!r} says where its predictions are. Leave --predictions out."
        )
    else:
        found = Predictions.of_job(lake, jobs[what])
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    content = found.job.model_dump(mode="json")
    if "labels" in given:
        content["labels"] = given.pop("labels")
    if "keys" in given:
        content["keys"] = [one.strip() for one in given.pop("keys").split(",")]
    content[section] |= {name: given[name] for name in given}
    return replace(found, job=validate(content, ScoringJob, f"slh {section}"))
