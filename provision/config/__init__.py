"""The appliance.yml: a strict model, a default for every key, every problem told at once."""

from provision.config.capacity import capacity
from provision.config.model import Config
from provision.config.problems import InvalidConfigError
from provision.config.reading import Loaded, find, load, read

__all__ = ["Config", "InvalidConfigError", "Loaded", "capacity", "find", "load", "read"]
