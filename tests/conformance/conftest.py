"""The project of the feature tests."""

from tests.features.conftest import project

__all__ = ["project"]
