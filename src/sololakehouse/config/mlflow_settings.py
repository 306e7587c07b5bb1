"""Where MLflow keeps runs and models."""

from __future__ import annotations

from sololakehouse.config.settings import Settings


class MlflowSettings(Settings):
    """Where runs and models are kept. Relative paths are relative to the project's folder.

    Attributes
    ----------
    tracking_uri
        Where MLflow keeps runs: SQLite, PostgreSQL, or the address of a server.
    artifacts
        Where MLflow keeps models and plots: a folder, or `s3://bucket/path`. With a server it is
        where the server says.
    """

    tracking_uri: str = "sqlite:///mlflow.db"
    artifacts: str = "mlartifacts"
