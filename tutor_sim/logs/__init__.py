"""Interaction logs: reading real learners' records, and simulating records of the same shape."""
