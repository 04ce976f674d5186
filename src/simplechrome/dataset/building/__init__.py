"""Building a dataset from tracks, DeepChrome files or arrays, and merging datasets."""
