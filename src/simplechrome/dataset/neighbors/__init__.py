"""Neighbor graphs: who is whose neighbor on the chromosome, in 3D, or in function."""
