"""Isolation for untrusted programs, shared by the grading service and the Python jail."""
