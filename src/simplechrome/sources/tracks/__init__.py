"""Signal tracks to values per bin: which file, which windows, what counts."""
