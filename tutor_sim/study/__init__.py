"""Studies: populations × tutors × seeds, run cell by cell, here or on a cluster."""
