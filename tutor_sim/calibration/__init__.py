"""Calibration: a population of student models fitted to a log of real answers."""
