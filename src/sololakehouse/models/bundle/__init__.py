"""Training elsewhere: what a machine without a lakehouse needs, in one file, and what it gives."""
