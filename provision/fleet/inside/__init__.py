"""Programs that are sent to an appliance and run there by its own python3, as root."""
