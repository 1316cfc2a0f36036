"""The appliance.yml model: strict, with a default for every key."""

import json
from pathlib import Path

from ruamel.yaml import YAML

from provision.config.model import Config

__all__ = ["Config", "load"]


def load(path: Path | None = None) -> Config:
    """Read a configuration.

    Args:
        path: the appliance.yml; None for the defaults.
    """
    if path is None:
        return Config()
    data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")) or {}
    return Config.model_validate_json(json.dumps(data), context={"base": str(path.parent)})
