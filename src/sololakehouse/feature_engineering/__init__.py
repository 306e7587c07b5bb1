"""The feature engineering API, with the names that people know from Databricks."""

from sololakehouse.feature_engineering.client import FeatureEngineeringClient
from sololakehouse.features.function import FeatureFunction
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.training_set import TrainingSet

__all__ = [
    "FeatureEngineeringClient",
    "FeatureFunction",
    "FeatureLookup",
    "FeatureTable",
    "TrainingSet",
]
