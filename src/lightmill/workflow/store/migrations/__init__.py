"""Versions of the tables of the store, and the way from each to the next."""
