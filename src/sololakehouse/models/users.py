"""Who uses a feature table: registered models, then saved training sets."""

from __future__ import annotations

from collections.abc import Iterator

from sololakehouse.features.users import TableUser, looked_up, training_set_users
from sololakehouse.lake import Lakehouse
from sololakehouse.models.registry import ALIASES, model_versions


def table_users(lake: Lakehouse) -> dict[str, tuple[TableUser, ...]]:
    """Return who uses each feature table: models, newest first, then training sets by name."""
    users: dict[str, list[TableUser]] = {}
    for table, model in _models(lake):
        users.setdefault(table, []).append(model)
    for table, training_sets in training_set_users(lake).items():
        users.setdefault(table, []).extend(training_sets)
    return {table: tuple(found) for table, found in users.items()}


def protected_tables(lake: Lakehouse) -> dict[str, tuple[str, ...]]:
    """Return the feature tables that models in staging or production use, with these models.

    Their definitions change only if somebody says why; see `pipelines.run.prepare` and
    `FeatureEngineeringClient.write_table`.
    """
    users: dict[str, list[str]] = {}
    for table, model in _models(lake):
        if model.stage in ALIASES:
            users.setdefault(table, []).append(str(model))
    return {table: tuple(models) for table, models in users.items()}


def _models(lake: Lakehouse) -> Iterator[tuple[str, TableUser]]:
    for version in reversed(model_versions(lake)):
        for table in sorted(looked_up(version.recipe)):
            yield table, TableUser("model", str(version), version.stage)
