"""Programs that are sent to an appliance and run there by its own python3, as root.

Each goes there as one file, with ``program``, which they share; nothing else of ours is imported.
"""
