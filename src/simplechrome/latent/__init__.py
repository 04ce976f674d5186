"""Window → latent, without labels: the honest baselines and the variational autoencoder."""
