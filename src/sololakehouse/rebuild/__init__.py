"""Building a model again from its record, and saying where it diverged if it did."""
