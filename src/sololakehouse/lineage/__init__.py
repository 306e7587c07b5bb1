"""Where every number comes from, read from commit records."""
