"""Whole files and folders, locks, resumable work, processes."""
