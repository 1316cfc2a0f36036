"""All that a call of the command line about a fleet may import, imported; see `warm`."""

import importlib
import pkgutil

from provision import cli, fleet

for package in (cli, fleet):
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__":
            importlib.import_module(f"{package.__name__}.{module.name}")
