"""Who uses a feature table, as far as commits tell: the saved training sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sololakehouse.features.recipe import SCHEMA
from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import CommitRecord


@dataclass(frozen=True)
class TableUser:
    """What was made from a feature table.

    Attributes
    ----------
    stage
        Of a model, if it is in one.
    version
        The version of the feature table that a training set was made from; None for a model.
    """

    kind: Literal["model", "training set"]
    name: str
    stage: str | None = None
    version: int | None = None

    @property
    def counts_on_it(self) -> bool:
        """Whether it is a training set, or a model in staging or production."""
        return self.kind == "training set" or self.stage in ("staging", "production")

    def __str__(self) -> str:
        about = self.stage or (f"v{self.version}" if self.version is not None else None)
        return f"{self.name} ({about})" if about else self.name


def training_set_users(lake: Lakehouse) -> dict[str, list[TableUser]]:
    """Return for each feature table the newest versions of the training sets made from it."""
    users: dict[str, list[TableUser]] = {}
    for name in lake.table_names():
        newest = lake.newest(name) if name.startswith(f"{SCHEMA}.") else None
        for table, version in _read_by(newest.record if newest else None):
            users.setdefault(table, []).append(TableUser("training set", name, version=version))
    return users


def looked_up(recipe: Mapping[str, Any]) -> set[str]:
    """Return the feature tables that a recipe names, as it stands in records."""
    lookups = recipe.get("feature_lookups", ())
    return {lookup["table_name"] for lookup in lookups if "table_name" in lookup}


def _read_by(record: CommitRecord | None) -> Iterator[tuple[str, int]]:
    tables = looked_up(record.details.get("recipe", {})) if record else set()
    for source in record.inputs if record else ():
        if source.table in tables:
            yield source.table, source.version
