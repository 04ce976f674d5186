"""Figures: each function returns a matplotlib figure."""
