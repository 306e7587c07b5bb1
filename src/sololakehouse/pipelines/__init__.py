"""From landing files to tables: ingestion, and Spark Declarative Pipelines on Delta."""

from sololakehouse.pipelines.auto_cdc import create_auto_cdc_flow

__all__ = ["create_auto_cdc_flow"]
