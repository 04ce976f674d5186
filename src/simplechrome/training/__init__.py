"""One loop for everything that learns by gradient, and the files of a model."""
