"""The engines that the settings offer."""

from provision.guest.grader.engine import Bubblewrap, Engine
from provision.guest.grader.settings import Settings
from provision.guest.grader.uml import UserModeLinux
from provision.guest.sandbox import gate


def make(settings: Settings) -> dict[str, Engine]:
    """Make every engine of some settings.

    Raises:
        ConfigError: the proxy is no address.
    """
    engines: dict[str, Engine] = {}
    way_out = gate.Gate(gate.proxy_address(settings.proxy)) if settings.proxy else None
    bubblewrap = Bubblewrap(settings.images, way_out=way_out)
    for name in settings.engines:
        if name == "bubblewrap":
            engines[name] = bubblewrap
        else:
            engines[name] = UserModeLinux(settings.uml_kernel, settings.uml_images, bubblewrap)
    return engines
