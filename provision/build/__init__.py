"""From a configuration to an OVA: stages, cache, plan, resume."""
