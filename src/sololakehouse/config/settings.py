"""The base of all that is read from a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of everything that is read from a file: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
