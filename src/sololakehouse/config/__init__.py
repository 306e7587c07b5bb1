"""A project's configuration: `lakehouse.yml` as frozen settings."""

from sololakehouse.config.project import Project
from sololakehouse.config.project_settings import ProjectSettings
from sololakehouse.config.scoring_job import ScoringJob

__all__ = ["Project", "ProjectSettings", "ScoringJob"]
