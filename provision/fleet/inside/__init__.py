"""Programs that are sent to an appliance and run there by its own python3, as root.

Each goes there as one file, with the modules that it imports at its top: those of this folder, and
``provision.waiting``.
"""
