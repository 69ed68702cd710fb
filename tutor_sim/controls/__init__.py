"""Null controls: comparisons in which an honest tutor cannot show an advantage."""
