"""Sage in an appliance: what is done to it once it is installed."""
