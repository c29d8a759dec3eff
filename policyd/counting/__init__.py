"""Exact counts in sliding, bucketed windows of time."""
