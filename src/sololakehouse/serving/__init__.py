"""A registered model behind HTTP: the predictor of batch inference, with features in memory."""
