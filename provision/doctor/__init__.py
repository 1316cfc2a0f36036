"""Can this host build and run an appliance? What is missing, and the command that mends it.

``facts`` gathers, ``checks`` judges: each check is a function of the facts and the configuration.
"""

from provision.doctor.checks import Diagnosis, examine
from provision.doctor.facts import HostFacts, gather
from provision.doctor.tools import packages

__all__ = ["Diagnosis", "HostFacts", "examine", "gather", "packages"]
