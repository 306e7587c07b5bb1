"""From landing files to tables: ingestion, and Spark Declarative Pipelines on Delta."""
