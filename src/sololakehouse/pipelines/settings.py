"""What a pipeline is told from outside: the spec's `configuration`, and the moment of the run.

Sources read both with `spark.conf.get("key")`, and in SQL as `${key}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import ConfigError, UsageError
from sololakehouse.lake.reference import parse_moment
from sololakehouse.local_time import checked_zone
from sololakehouse.pipelines.refused_actions import replaced
from sololakehouse.pipelines.variables import substituted

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

AS_OF = "pipelines.as_of"
ANSI = "spark.sql.ansi.enabled"
TIME_ZONE = "spark.sql.session.timeZone"
# What decides about rows and the embedded engine heeds, with what it takes if nothing is said.
_HEEDED: Mapping[str, str] = {ANSI: "true", TIME_ZONE: "UTC"}
# What decides about rows on Apache Spark only, with the value for which both agree.
_FIXED: Mapping[str, str] = {
    "spark.sql.caseSensitive": "false",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.variable.substitute": "true",
}
_LEGACY = "spark.sql.legacy."


@dataclass(frozen=True)
class PipelineSettings:
    """The values of a pipeline's settings by key; `pipelines.as_of` is always among them."""

    values: Mapping[str, str]

    @classmethod
    def of(
        cls,
        configuration: Mapping[str, str],
        as_of: datetime | None,
        where: str,
        zone: str | None = None,
    ) -> PipelineSettings:
        """Check a spec's configuration, and add the moment of the run.

        Parameters
        ----------
        as_of
            The moment that the run was given; None: what the configuration says, else now.
        where
            The spec, for messages.
        zone
            The project's time zone, for a moment that says none.

        Raises
        ------
        ConfigError
            A value is not valid, or Apache Spark would give other rows with it.
        """
        try:
            for key, value in configuration.items():
                _check(key, value)
            written = configuration.get(AS_OF)
            moment = as_of or (parse_moment(written, zone) if written else datetime.now(UTC))
        except UsageError as error:
            raise ConfigError(f"{where}: configuration: {error}") from error
        return cls({**configuration, AS_OF: _iso(moment)})

    @property
    def as_of(self) -> str:
        """The moment of the run: ISO 8601, in UTC."""
        return self.values[AS_OF]

    @property
    def deciding(self) -> dict[str, str]:
        """The settings that decide about rows and are not as usual."""
        known = {key: self.values.get(key, usual) for key, usual in _HEEDED.items()}
        return {key: value for key, value in known.items() if value != _HEEDED[key]}

    def refusal(self, settings: Mapping[str, str]) -> str | None:
        """Say why the settings of one flow cannot be heeded; None if they can.

        A setting that decides about rows must be what it is for the whole pipeline. All others
        are for speed or for Apache Spark, and have no effect on the embedded engine.
        """
        for key, value in settings.items():
            usual = {**_HEEDED, **_FIXED, **self.values}.get(key)
            if key.startswith(_LEGACY) or (usual is not None and value.lower() != usual.lower()):
                return (
                    f"'{key}' cannot be {value!r} for one flow: all flows share one session of "
                    f"the embedded engine, where it is {usual or 'not supported'!r}. Set it under "
                    "'configuration' in spark-pipeline.yml, which holds for all of them."
                )
        return None

    def apply(self, session: SparkSession) -> None:
        """Let `conf.get` and `${key}` of a session know the settings."""
        for key, value in self.values.items():
            session.conf.set(key, value)

        def sql(sqlQuery: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N803
            kind: Any = type(session)
            return kind.sql(session, substituted_in(session, sqlQuery), *args, **kwargs)

        vars(session)["sql"] = sql


def substituted_in(session: SparkSession, text: str) -> str:
    """Replace each `${key}` in SQL text by the session's value, which the embedded engine leaves.

    Raises
    ------
    VariableError
        A variable has no value.
    """
    return substituted(text, lambda key: session.conf.get(key, None))


@contextmanager
def keys_read() -> Iterator[set[str]]:
    """Collect the settings that sources ask for meanwhile."""
    from pyspark.sql.connect.conf import RuntimeConf

    keys: set[str] = set()
    get = RuntimeConf.get

    def recorded(conf: RuntimeConf, key: str, *default: Any, **named: Any) -> Any:
        keys.add(key)
        return get(conf, key, *default, **named)

    with replaced(RuntimeConf, "get", recorded):
        yield keys


def _check(key: str, value: str) -> None:
    if key == ANSI and value not in ("true", "false"):
        raise UsageError(f"{key} is 'true' or 'false', not {value!r}.")
    if key == TIME_ZONE:
        _check_zone(value)
    fixed = _FIXED.get(key)
    if key.startswith(_LEGACY) or (fixed is not None and value.lower() != fixed.lower()):
        raise UsageError(
            f"{key}: {value!r} would give other rows on Apache Spark, and the embedded engine "
            f"does not know it. {f'Write {fixed!r}, or leave it' if fixed else 'Leave it'} out."
        )


def _check_zone(name: str) -> None:
    try:
        checked_zone(name)
    except ValueError as error:
        raise UsageError(f"{TIME_ZONE}: {error}") from error


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
