"""Insight into a trained tutor: what it knows, what it does, what a teacher can read from it."""
