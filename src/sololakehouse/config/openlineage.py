"""Where the OpenLineage events of a run go."""

from __future__ import annotations

from pydantic import Field, model_validator

from sololakehouse.config.settings import Settings


class OpenLineageSettings(Settings):
    """Where a run's OpenLineage events go: to a `file`, one per line, or to an HTTP `url`.

    Attributes
    ----------
    file
        The file that gets the events of `slh run`, one per line.
    url
        Or the server that gets them by HTTP.
    endpoint
        What is added to `url`, as OpenLineage's own clients do.
    namespace
        The namespace of the jobs; None: the project's name.
    """

    file: str | None = None
    url: str | None = Field(default=None, pattern=r"^https?://.")
    endpoint: str = "api/v1/lineage"
    namespace: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> OpenLineageSettings:
        if (self.file is None) == (self.url is None):
            raise ValueError("openlineage needs either a 'file' or a 'url'")
        return self
