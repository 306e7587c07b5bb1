"""What Prometheus reads of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sololakehouse.serving.served_model import ServedModel

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters and gauges of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "slh_serve_requests", "Requests.", ["endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "slh_serve_request_seconds",
            "Time to answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.rows = Counter("slh_serve_rows", "Rows predicted.", registry=registry)
        self.history = Counter(
            "slh_serve_history_reads", "Requests for which tables were read.", registry=registry
        )
        self.model = Gauge(
            "slh_serve_model_version", "Model version that answers.", ["model"], registry=registry
        )
        self.table = Gauge(
            "slh_serve_feature_table_version",
            "Version of a feature table that is in memory.",
            ["table"],
            registry=registry,
        )
        self.committed = Gauge(
            "slh_serve_feature_table_committed_timestamp_seconds",
            "When that version was committed.",
            ["table"],
            registry=registry,
        )
        self.held = Gauge(
            "slh_serve_feature_rows", "Feature rows in memory.", ["table"], registry=registry
        )
        self.refreshes = Counter(
            "slh_serve_refreshes", "Looks at tables and models.", ["result"], registry=registry
        )
        self.waiting = Gauge(
            "slh_serve_inference_rows_waiting",
            "Rows that the inference table does not have yet.",
            registry=registry,
        )
        self.written = Counter(
            "slh_serve_inference_rows_written", "Rows in the inference table.", registry=registry
        )
        self.lost = Counter(
            "slh_serve_inference_rows_lost", "Rows that were given up.", registry=registry
        )
        self.write_failures = Counter(
            "slh_serve_inference_write_failures",
            "Commits to the inference table that failed.",
            registry=registry,
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
