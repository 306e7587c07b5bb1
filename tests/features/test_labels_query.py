from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from sololakehouse.config.validation import validate
from sololakehouse.errors import ConfigError, NotFoundError, RunError, UsageError
from sololakehouse.features.labels_query import LabelsQuery
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.saved import build_training_set, open_training_set
from sololakehouse.lake.leases import active_leases

from .flights import LABELS, airports, weather

QUERY = """\
WITH known AS (SELECT * FROM gold.labels WHERE origin IS NOT NULL)
SELECT known.flight, known.origin, predict_at, is_late, altitude AS height
FROM known LEFT JOIN features.airports AS a ON a.faa = known.origin
"""


def made(project, query: str = QUERY, *lookups: Any):
    return project.client.create_training_set(
        df=query,
        feature_lookups=lookups or (weather(), airports()),
        label="is_late",
        timestamp="predict_at",
    )


def test_a_query_gives_labels_in_the_order_of_time_then_of_all_columns(project):
    training = made(project)
    frame = training.to_polars()
    assert frame["flight"].to_list() == [1, 3, 2]
    assert frame["height"].to_list() == frame["altitude"].to_list() == [13, 22, 13]
    assert frame["temp"].to_list() == [7.0, 2.0, 9.0]
    tables = [source.table for source in training.inputs]
    assert tables == ["features.airports", "gold.labels", "features.weather"]


def test_it_is_pinned_recorded_leased_and_explained_as_it_was(project):
    saved = made(project).save("asked")
    project.write("gold.labels", LABELS.head(1))
    details = saved.record.details
    assert details["recipe"]["labels"] == QUERY
    leased = {lease.reference for lease in active_leases(project.lake)}
    assert leased == {"training.asked@v1", *(str(source) for source in saved.record.inputs)}
    opened = open_training_set(project.lake, "asked")
    assert opened.to_polars().equals(saved.to_polars())
    assert opened.explain(2).label["flight"] == 2


def test_only_what_the_query_says_or_reads_makes_a_new_version(project):
    first = made(project).save("asked").version
    spec = TrainingSetSpec.model_validate(
        project.lake.read("training.asked").record.details["recipe"]
    )
    assert build_training_set(project.lake, project.writer(), spec)[1]
    assert made(project, QUERY.replace("WHERE", "-- why\n where")).save("asked").version == first
    project.write("gold.labels", LABELS.head(3))
    again, up_to_date = build_training_set(project.lake, project.writer(), spec)
    assert (again.version, up_to_date) == (first + 1, False)
    assert again.record.details["computed"] == {"in full": "the labels are no table"}
    other = QUERY.replace("IS NOT NULL", "= 'JFK'")
    assert made(project, other).save("asked").version == first + 2


def test_a_version_that_the_query_names_is_read(project):
    old = project.lake.read("gold.labels").version
    project.write("gold.labels", LABELS.with_columns(flight=pl.col("flight") + 10))
    query = f"SELECT * FROM gold.labels@v{old} UNION ALL SELECT * FROM gold.labels"
    training = made(project, query, weather())
    assert training.to_polars()["flight"].to_list() == [1, 11, 3, 4, 13, 14, 2, 12]
    labels = [source for source in training.inputs if source.table == "gold.labels"]
    assert [source.version for source in labels] == [old, old + 1]
    saved = training.save("both")
    project.write("gold.labels", LABELS.head(1))
    assert open_training_set(project.lake, "both").to_polars().equals(saved.to_polars())
    only = made(project, f"SELECT * FROM gold.labels VERSION AS OF {old}", weather())
    assert [str(source) for source in only.inputs][:1] == [f"gold.labels@v{old}"]


def test_a_table_that_gives_labels_and_features_is_read_at_one_version(project):
    first = project.lake.read("features.airports")
    raised = pl.DataFrame({"faa": ["JFK"], "altitude": [1]})
    project.client.write_table(name="features.airports", df=raised)
    training = project.client.create_training_set(
        df=f"features.airports@v{first.version}",
        feature_lookups=[airports(lookup_key="faa", rename_outputs={"altitude": "height"})],
        label="altitude",
    )
    assert training.inputs == (first.table_version,)
    assert training.to_polars()["height"].to_list() == [13, 22]
    query = "SELECT faa AS origin, altitude AS is_late, now FROM features.airports"
    query = query.replace("now", "TIMESTAMP '2026-01-01 00:00:00' AS predict_at")
    assert [source.table for source in made(project, query).inputs][:1] == ["features.airports"]
    pins = LabelsQuery.pin(project.lake, query, training.inputs).pinned
    assert pins == (first.table_version,)


MISTAKES = {
    "a moment": ("SELECT *, now() AS n FROM gold.labels", "The query of the labels uses now(), so"),
    "a draw": ("SELECT * FROM gold.labels WHERE rand() < 0.5", "uses rand(), so the same versions"),
    "a limit": ("SELECT * FROM gold.labels LIMIT 2", "uses LIMIT without ORDER BY, so the same"),
    "a sample": ("SELECT * FROM gold.labels TABLESAMPLE (50 PERCENT)", "uses TABLESAMPLE, so the"),
    "a view of the logs": ("SELECT * FROM system.table_commits", "uses system.table_commits, so"),
    "a moment of a table": (
        "SELECT * FROM gold.labels TIMESTAMP AS OF '2026-01-01T00:00:00Z'",
        "The query of the labels reads gold.labels TIMESTAMP AS OF '2026-01-01T00:00:00Z'. Write "
        "VERSION AS OF and a version, or nothing: what is newest now is pinned.",
    ),
    "two queries": ("SELECT 1; SELECT 2", "Ask one query at a time; this text holds 2 statements."),
    "an unknown column": ("SELECT fligth FROM gold.labels", "The query failed: "),
    "no time zone": (
        "SELECT *, CAST(predict_at AS TIMESTAMP_NTZ) AS local FROM gold.labels",
        "The timestamp 'local' of the labels has no time zone.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(unchanged, mistake):
    query, message = MISTAKES[mistake]
    with pytest.raises(UsageError) as said:
        made(unchanged, query)
    assert message in str(said.value)
    assert said.value.exit_code == 2


def test_an_unknown_table_or_version_has_candidates(unchanged):
    with pytest.raises(NotFoundError, match=r"No table 'gold\.lables'\. Did you mean 'gold\.labe"):
        made(unchanged, "SELECT * FROM gold.lables")
    with pytest.raises(NotFoundError, match=r"gold\.labels has no version 9\. Its versions are 0"):
        made(unchanged, "SELECT * FROM gold.labels VERSION AS OF 9")


def test_a_table_that_was_made_anew_is_another_one(project):
    training = made(project)
    pins = [pin.model_copy(update={"table_id": "other"}) for pin in training.inputs]
    with pytest.raises(RunError, match="has been dropped and made anew: version 1 is not the one"):
        LabelsQuery.pin(project.lake, QUERY, pins)


def test_labels_in_a_file_are_a_table_or_a_query():
    fields = {"name": "training.t", "label": "is_late"}
    assert TrainingSetSpec(labels=QUERY, **fields).labels == QUERY
    assert json.loads(TrainingSetSpec(labels=QUERY, **fields).model_dump_json())["labels"] == QUERY
    with pytest.raises(ConfigError) as said:
        validate(fields | {"labels": "labels of gold"}, TrainingSetSpec, "a.yml")
    assert str(said.value) == (
        "a.yml: labels: 'labels of gold' is neither a table, such as gold.sales, nor a SELECT"
    )
