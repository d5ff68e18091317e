"""Listing many experiments quickly: the index, filters."""
