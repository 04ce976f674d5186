"""Latent or window → expression: high or low, or how much."""
