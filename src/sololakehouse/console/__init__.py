"""The lakehouse in a browser, for reading only."""
