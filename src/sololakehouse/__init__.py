"""SoloLakehouse: a lakehouse and MLOps platform that one person runs on one machine."""

__version__ = "0.1.0"
