"""Notebook tables and figures."""
