"""The demo's data: a written model of chromatin and expression with planted effects."""
