"""Named records that we know, for a configuration that gives them in part or not at all."""

from collections.abc import Mapping
from typing import Any

DISKS: dict[str, dict[str, Any]] = {
    "root": {"size": "12G", "filesystem": "ext4", "mount": "/", "reserve": "5%"},
    "home": {"size": "8G", "filesystem": "ext4", "mount": "/home", "reserve": "1%"},
}
PORT, SESSIONS_PORT = 8000, 8443
FORWARDS: dict[str, dict[str, Any]] = {
    "ssh": {"host": 2222, "guest": 22, "public": False},
    "notebook": {"host": PORT, "guest": PORT, "public": False},
    "sessions": {"host": SESSIONS_PORT, "guest": SESSIONS_PORT, "public": False},
}


def with_defaults(value: Any, defaults: dict[str, dict[str, Any]]) -> Any:
    """Let a named record that we know be given in part, or not at all."""
    if not isinstance(value, dict):
        return value
    merged = dict(defaults) | value
    for name, record in defaults.items():
        if isinstance(merged[name], dict):
            merged[name] = record | merged[name]
    return merged


def with_sessions(data: Any) -> Any:
    """Let the sessions' forward follow the notebook's, where a configuration leaves it away.

    A browser finds the sessions' port as far above the notebook's as it is in the guest.

    Args:
        data: a whole configuration, not yet checked; what cannot be understood is left as it is.
    """
    network, notebook = (_mapping(data, name) for name in ("network", "notebook"))
    forwards = _mapping(network, "forwards")
    if forwards is None or notebook is None or forwards.get("sessions", {}) is None:
        return data
    if (leading := forwards.get("notebook", {})) is None:
        own = None
    else:
        host = leading.get("host", PORT) if isinstance(leading, Mapping) else None
        guest, port = notebook.get("sessions_port", SESSIONS_PORT), notebook.get("port", PORT)
        if not all(isinstance(each, int) for each in (host, guest, port)):
            return data
        own = {"host": host + guest - port, "guest": guest, "public": leading.get("public", False)}
    own = {**own, **forwards["sessions"]} if own and "sessions" in forwards else own
    return {**data, "network": {**network, "forwards": {**forwards, "sessions": own}}}


def _mapping(data: Any, name: str) -> Any:
    """A section; empty when it is not given, None when it is none."""
    if not isinstance(data, Mapping):
        return None
    found = data.get(name, {})
    return found if isinstance(found, Mapping) else None
