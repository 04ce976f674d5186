"""Transforms of the signal before an encoder sees it."""
