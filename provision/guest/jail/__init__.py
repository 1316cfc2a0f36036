"""The Python jail."""
