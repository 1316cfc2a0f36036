"""Can this host build and run an appliance? What is missing, and the command that mends it.

``facts`` gathers, ``checks`` judges: each check is a function of the facts and the configuration.
"""

from provision.doctor.checks import Check, examine
from provision.doctor.facts import Facts, gather
from provision.doctor.tools import packages

__all__ = ["Check", "Facts", "examine", "gather", "packages"]
