"""The grid of representation, predictor and labels: workers, summary, comparisons, controls."""
