"""How labels become a training set: the recipe, as it stands in files and commit records."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from sololakehouse.config import TABLE_NAME, Settings
from sololakehouse.errors import UsageError
from sololakehouse.features.lookup import FeatureLookup

SCHEMA = "training"


class Recipe(Settings):
    """How labels become a training set.

    Attributes
    ----------
    label
        Column of the labels to predict; a NULL in it is refused.
    timestamp
        Column of the labels by which a table of labels is ordered and data is split.
    feature_lookups
        What to look up; the features follow the labels' columns in this order.
    exclude_columns
        Columns of labels or features that the result does not have; they may still be lookup keys.
    allow_exact_match
        Whether a feature row of exactly the label's moment is visible.
    known_as_of
        Replay what could be known at this moment, with a time zone; None: what was known at each
        label's moment.
    """

    label: str
    timestamp: str | None = None
    feature_lookups: tuple[FeatureLookup, ...] = ()
    exclude_columns: tuple[str, ...] = ()
    allow_exact_match: bool = True
    known_as_of: AwareDatetime | None = None

    @property
    def time_columns(self) -> frozenset[str]:
        """Columns of the labels that hold a moment to look up or split by: never features."""
        lookups = {lookup.timestamp_lookup_key for lookup in self.feature_lookups}
        return frozenset(name for name in (self.timestamp, *lookups) if name)


class TrainingSetSpec(Recipe):
    """A recipe with a name and a table of labels, as in an experiment file.

    Attributes
    ----------
    name
        The table to save to, `training.<name>`.
    labels
        The table of labels. None in the record of a training set whose labels came as a frame.
    """

    name: str = Field(pattern=rf"^{SCHEMA}\.[A-Za-z_][A-Za-z0-9_]*$")
    labels: str | None = Field(default=None, pattern=TABLE_NAME)


def training_table(name: str) -> str:
    """Return the table for a training set's name, with or without its schema.

    Examples
    --------
    >>> training_table("flight_delay"), training_table("training.flight_delay")
    ('training.flight_delay', 'training.flight_delay')
    """
    table = name if "." in name else f"{SCHEMA}.{name}"
    if not table.startswith(f"{SCHEMA}."):
        raise UsageError(
            f"A training set is saved in the schema {SCHEMA!r}: write {SCHEMA}.NAME, not {name!r}."
        )
    return table
