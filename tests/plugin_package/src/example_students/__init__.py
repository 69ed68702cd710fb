"""Students of a third party."""
