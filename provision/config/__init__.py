"""The appliance.yml model: strict, with a default for every key."""
