"""Documentation without a network: what books are made of, and how a session shows them.

``docstrings``, ``reference.R`` and ``names`` run on their own, when an image is built; ``shelf`` is
the session's side, whose handlers are in ``hub.panel``.
"""
