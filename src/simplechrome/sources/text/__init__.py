"""Text files: opening, delimited tables."""
