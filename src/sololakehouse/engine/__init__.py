"""Spark sessions: on the embedded engine, or on a Spark Connect server."""

from sololakehouse.engine.messages import engine_message
from sololakehouse.engine.session import SYSTEM_PREFIX, Engine, TableSnapshot, quoted

__all__ = ["SYSTEM_PREFIX", "Engine", "TableSnapshot", "engine_message", "quoted"]
