"""Helpers that every room may use. They know nothing of experiments."""
