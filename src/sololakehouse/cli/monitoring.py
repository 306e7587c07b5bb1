"""Commands about predictions that were made: `slh evaluate` and `slh drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.output_file import refuse_place, whole_file
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.monitoring.evaluation import Evaluation
    from sololakehouse.monitoring.predictions import Predictions

_MEASURES = ("roc_auc", "average_precision", "brier", "calibration_error", "cost")
_COUNTED = ("rows", "unknown", "share_positive")

_predictions = click.option("--predictions", metavar="TABLE", help="The table that holds them.")
_labels = click.option("--labels", metavar="TABLE", help="The table with the answers.")
_keys = click.option("--keys", metavar="COLUMNS", help="What identifies a row, comma-separated.")
_period = click.option("--period", type=click.Choice(["day", "week", "month", "quarter", "year"]))
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

    from sololakehouse.config import ScoringJob, validate
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
