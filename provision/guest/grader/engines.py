"""The engines that the settings offer."""

from provision.errors import ConfigError
from provision.guest.grader.engine import Bubblewrap, Engine
from provision.guest.grader.settings import Settings
from provision.guest.grader.uml import UserModeLinux


def make(settings: Settings) -> dict[str, Engine]:
    """Make every engine of some settings.

    Raises:
        ConfigError: one is unknown.
    """
    engines: dict[str, Engine] = {}
    for name in settings.engines:
        if name == "bubblewrap":
            engines[name] = Bubblewrap(settings.images)
        elif name == "uml":
            engines[name] = UserModeLinux(
                settings.uml_kernel, settings.uml_images, Bubblewrap(settings.images)
            )
        else:
            raise ConfigError(f"unknown engine {name}", hint="known: bubblewrap, uml")
    return engines
