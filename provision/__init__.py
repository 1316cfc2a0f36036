"""The classroom appliance: build it, run it, prove it, renew it."""
