"""From a registered model to predictions: one predictor, and batch inference with it."""
