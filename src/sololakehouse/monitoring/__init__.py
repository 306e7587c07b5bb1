"""How a model does after its training: evaluation once labels are in, and drift before that."""

from sololakehouse.monitoring.drift import Drift, drift
from sololakehouse.monitoring.evaluation import Evaluation, evaluate, evaluate_job
from sololakehouse.monitoring.predictions import Predictions

__all__ = ["Drift", "Evaluation", "Predictions", "drift", "evaluate", "evaluate_job"]
