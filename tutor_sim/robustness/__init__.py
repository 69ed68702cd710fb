"""Robustness: a trained tutor teaches other students than those it was trained with."""
