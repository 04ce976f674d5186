"""Scores with intervals, calibration and coverage."""
