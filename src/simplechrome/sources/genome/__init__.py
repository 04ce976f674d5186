"""Genes, transcripts, chromosome names and assemblies."""
