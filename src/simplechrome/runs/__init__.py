"""Runs: prepare, fit, write; load, apply, start from, adapt."""
