"""Features: tables with a contract, point-in-time lookups, training sets."""
