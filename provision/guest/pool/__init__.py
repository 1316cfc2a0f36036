"""Notebook sessions leased on pool accounts."""
