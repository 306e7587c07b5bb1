"""Experiments, trainers, and MLflow: tracking and the registry."""

import os

# OpenMP threads that spin while they wait made XGBoost five times slower as soon as another process
# used one of two cores. The library reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
