"""What Prometheus reads of a server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sololakehouse.serving.served_model import ServedModel

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters and gauges of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry, buckets=_SECONDS)
        self.requests = counter("slh_serve_requests", "Requests.", ["endpoint", "status"])
        self.seconds = histogram("slh_serve_request_seconds", "Time to answer.", ["endpoint"])
        self.rows = counter("slh_serve_rows", "Rows predicted.")
        self.history = counter("slh_serve_history_reads", "Requests for which tables were read.")
        self.model = gauge("slh_serve_model_version", "Model version that answers.", ["model"])
        self.table = gauge(
            "slh_serve_feature_table_version",
            "Version of a feature table that is in memory.",
            ["table"],
        )
        self.committed = gauge(
            "slh_serve_feature_table_committed_timestamp_seconds",
            "When that version was committed.",
            ["table"],
        )
        self.held = gauge("slh_serve_feature_rows", "Feature rows in memory.", ["table"])
        self.refreshes = counter("slh_serve_refreshes", "Looks at tables and models.", ["result"])
        self.waiting = gauge(
            "slh_serve_inference_rows_waiting", "Rows that the inference table does not have yet."
        )
        self.written = counter("slh_serve_inference_rows_written", "Rows in the inference table.")
        self.lost = counter("slh_serve_inference_rows_lost", "Rows that were given up.")
        self.write_failures = counter(
            "slh_serve_inference_write_failures", "Commits to the inference table that failed."
        )

    def shows(self, served: ServedModel) -> None:
        """Show a model and the feature tables in its memory."""
        self.model.labels(served.name).set(served.version.version)
        for name, rows in served.features.rows.items():
            snapshot = served.features.tables[name].snapshot
            self.table.labels(name).set(snapshot.version)
            self.committed.labels(name).set(snapshot.commit.timestamp.timestamp())
            self.held.labels(name).set(rows)

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
