"""What a model has learned, in terms of marks and genes."""
