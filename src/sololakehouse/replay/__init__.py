"""Replay: what a pipeline gives from what was known at a moment, against what it gives now."""
