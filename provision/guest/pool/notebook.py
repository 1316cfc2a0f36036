"""Start the notebook in the words of the classic ``notebook()``.

``start-notebook`` calls this; the systemd units run it as ``start-notebook proxy`` and
``start-notebook hub``. Without a word it is for an administrator's terminal (under dtach): it
starts the proxy when none runs, then the hub.
"""

import html
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler
from traitlets.config import Config

from provision.guest import record, typed
from provision.guest.hub.evicting import Hub
from provision.guest.hub.settings import extend
from provision.guest.hub.visit import Sessions, VisitHandler
from provision.guest.pool import notes, tls
from provision.guest.pool.account import read_settings
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.activity import Notices
from provision.guest.pool.session import parse_ulimit
from provision.guest.whole import keep, read, secret

HUB_PORT, PROXY_API_PORT = 8081, 8001
SCENES = "/opt/sage-current/share/jupyter/nbextensions"
NODE, PROXY = "/usr/bin/node", Path(__file__).with_name("proxy.js")
READY_SECONDS = 300  # an ended session is noticed at once; this is for slow machines


@typed.reporting_damage()
def notebook(
    *,
    server_pool: Sequence[str],
    directory: str = "/home/students",
    port: int = 8000,
    sessions_port: int = 8443,
    subdomain_host: str = "",
    interface: str = "127.0.0.1",
    secure: bool | None = None,
    timeout: int = 3600,
    ulimit: str = "",
    accounts: bool = False,
    approval: bool = False,
    session_expiry: int = 0,
    patience: float = 300,
    title: str = "",
    admin: str = "sageadm",
    state: Path = Path("/var/lib/notebook"),
) -> None:
    """Run the hub, or the proxy when the command line says so. Does not return.

    Args:
        server_pool: accounts that sessions lease, as ``user@host`` or ``user@host:port``.
        directory: the students' files; root's side must agree (``/etc/notebook/pool.conf``).
        port: where browsers find us.
        sessions_port: where they find the sessions, which are no part of the hub's origin; where
            ports are forwarded, both by as much.
        subdomain_host: the hub's name, where the school's DNS has it and all names below it: each
            student's sessions have one of their own there; empty: all have the hub's.
        interface: the address to listen on; empty for all.
        secure: HTTPS; None: unless the interface is loopback.
        timeout: seconds after which an idle session is ended; 0: never.
        ulimit: further limits of a session, as options of bash's ulimit.
        accounts: a visitor may make an account by signing in.
        approval: such an account opens only once the admin has approved it.
        session_expiry: seconds after which any session is ended; 0: never.
        patience: seconds that a student may wait in line for a place.
        title: the school's name, shown at sign-in.
        admin: the name that administers the hub.
        state: directory of the hub's own files.

    Raises:
        SystemExit: the settings contradict each other.
    """
    parse_ulimit(ulimit)
    if (other := read_settings().directory) != Path(directory):
        sys.exit(
            f"start-notebook: directory is {directory}, but /etc/notebook/pool.conf has {other}"
        )
    interface = interface or "0.0.0.0"  # noqa: S104 - asked for, as in the classic notebook()
    secure = not ip_address(interface).is_loopback if secure is None else secure
    told = {
        **{"interface": interface, "port": port, "sessions_port": sessions_port},
        **{"hub_port": HUB_PORT, "api_port": PROXY_API_PORT, "subdomain_host": subdomain_host},
        **(tls.files(state / "tls", subdomain_host) if secure else {}),
    }
    proxy = [NODE, str(PROXY), json.dumps(told)]
    os.environ["CONFIGPROXY_AUTH_TOKEN"] = secret(state / "proxy-token")
    secret(state / "cookie-secret", lambda: secrets.token_hex(32))
    match sys.argv[1:]:
        case ["proxy"]:
            os.execv(proxy[0], proxy)  # noqa: S606
        case ["hub"]:
            _make_admin(state, admin)
        case []:
            _make_admin(state, admin)
            if not _listening(PROXY_API_PORT):
                subprocess.Popen(proxy, start_new_session=True)
        case _:
            sys.exit("usage: start-notebook [hub|proxy]")
    config = hub_config(
        server_pool=server_pool,
        bind_url=f"http{'s' if secure else ''}://{interface}:{port}",
        sessions_above=sessions_port - port,
        subdomain_host=subdomain_host,
        timeout=timeout,
        session_expiry=session_expiry,
        patience=patience,
        ulimit=ulimit,
        accounts=accounts,
        approval=approval,
        title=title,
        admin=admin,
        state=state,
    )
    extend(config, record.read(), state)
    Hub.state = state
    Hub.instance(config=config)
    Hub.launch_instance([])


def hub_config(
    *,
    server_pool: Sequence[str],
    bind_url: str,
    sessions_above: int,
    subdomain_host: str,
    timeout: int,
    session_expiry: int,
    patience: float,
    ulimit: str,
    accounts: bool,
    approval: bool,
    title: str,
    admin: str,
    state: Path,
) -> Config:
    """JupyterHub's configuration.

    The arguments are ``notebook``'s, the public URL, and how far the sessions' port is above its.
    """
    headers = {
        "Content-Security-Policy": "frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    notices = Notices(state / "notices")
    secure, token = bind_url.startswith("https"), os.environ.get("CONFIGPROXY_AUTH_TOKEN", "")

    def announce(user: Any) -> str:
        told = (notices.read(user.name), notes.note(user.name)) if user else ()
        return " ".join(filter(None, told))

    shown: dict[str, Any] = {"announcement": announce}
    if title:
        shown["announcement_login"] = html.escape(title)
    settings: dict[str, dict[str, Any]] = {
        "JupyterHub": {
            "bind_url": bind_url,
            "hub_bind_url": f"http://127.0.0.1:{HUB_PORT}",
            "db_url": f"sqlite:///{state}/jupyterhub.sqlite",
            "cookie_secret_file": f"{state}/cookie-secret",
            "authenticator_class": "provision.guest.pool.authenticator.PoolAuthenticator",
            "spawner_class": "provision.guest.pool.spawner.PoolSpawner",
            # Sessions and the proxy outlive the hub.
            "cleanup_servers": False,
            "cleanup_proxy": False,
            # Also how soon a restarted proxy learns its routes again.
            "last_activity_interval": 10,
            "concurrent_spawn_limit": 0,  # students in line are pending spawns
            "tornado_settings": {
                "headers": headers,
                "sessions": Sessions(sessions_above, token, secure, subdomain_host),
                "slow_spawn_timeout": 3,
                "xsrf_cookie_kwargs": {"secure": secure},
            },
            # No page of a session, on the same host, can put others in their place; the proxy
            # keeps them from the sessions' servers.
            "cookie_host_prefix_enabled": secure,
            "template_vars": shown,
            # What plot3d asks the browser to load, by viewer; it would ask the internet next.
            "extra_handlers": [
                (
                    r"/nbextensions/((?:threejs-sage|jupyter-jsmol)/.*)",
                    StaticFileHandler,
                    {"path": SCENES},
                ),
                (r"/visit", VisitHandler),
            ],
        },
        "ConfigurableHTTPProxy": {
            "should_start": False,
            "api_url": f"http://127.0.0.1:{PROXY_API_PORT}",
            "auth_token": token,
        },
        "PoolAuthenticator": {
            "accounts_file": f"{state}/accounts.json",
            "open_accounts": accounts,
            "approval": approval,
            "admin_users": {admin},
        },
        "PoolSpawner": {
            "server_pool": list(server_pool),
            "state_directory": str(state),
            "pool_key": f"{state}/id_ed25519",
            "hub_port": HUB_PORT,
            "idle_timeout": timeout,
            "expiry": session_expiry,
            "ulimit": ulimit,
            "cmd": [str(Path(sys.executable).with_name("jupyterhub-singleuser"))],
            "args": [
                # There is no network to ask, and nothing that a student could install for all.
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                "--LabApp.extension_manager=readonly",
                "--LabApp.news_url=None",
            ],
            "default_url": "/lab",
            "disable_user_config": True,  # a student's own settings cannot keep the server down
            "env_keep": [],
            "patience": patience,
            "ready_timeout": READY_SECONDS,
            "http_timeout": READY_SECONDS,
            "start_timeout": patience + READY_SECONDS + 10,
            "poll_interval": 5,
        },
    }
    return Config(settings)


def _make_admin(state: Path, admin: str) -> None:
    """Give the administrator a first password, to be read in the machine.

    One that a power cut took opens nothing any more: then there is a new one. Who changed the
    password may remove the file.
    """
    accounts, first = Accounts(state / "accounts.json"), state / "first-password"
    if admin not in accounts.names():
        accounts.add(admin, secret(first))
    elif first.exists() and read(first) is None:
        accounts.set_password(admin, password := secrets.token_urlsafe(24))
        keep(first, password)  # last: until it is there, the next start does this again


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
