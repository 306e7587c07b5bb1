"""Trailing aggregates: features over windows of time, declared instead of written as window SQL.

They need nothing of SoloLakehouse at run time, so that a source that uses them gives the same table
under Apache Spark's own runner: what they return is a lazy DataFrame of standard functions.
"""

from __future__ import annotations

from sololakehouse.windows.aggregate import Aggregate
from sololakehouse.windows.trailing import TrailingAggregates

__all__ = ["Aggregate", "TrailingAggregates"]
