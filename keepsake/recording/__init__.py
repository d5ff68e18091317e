"""A run from init() to its end: what is saved on this machine at once, and how it gets into the repository."""
