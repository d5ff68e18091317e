"""A run from init() to its end: saving on this machine at once, and sending to the repository in the background."""
