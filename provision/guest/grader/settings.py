"""The settings of the grading service, from a TOML file."""

import dataclasses
import ipaddress
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from provision.errors import ConfigError
from provision.guest import typed
from provision.guest.sandbox.limits import MIB, Limits

ENGINES = ("bubblewrap", "uml")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Settings:
    """Everything that an administrator may set; unknown keys are refused.

    Args:
        host, port: where to listen.
        state: the directory of uploads and of the database.
        images: the directory with one root file system for each image.
        image: the image of a task that names none.
        engine: the engine of a task that names none, ``bubblewrap`` or ``uml``.
        engines: the engines offered.
        uml_kernel: the User-Mode Linux program, of Debian's package user-mode-linux.
        uml_images: the directory of ``NAME.ext4`` disks for it.
        network: the hosts that the proxy lets tasks reach, see `instances.host`; none: no network.
        proxy: a filtering proxy, as ADDRESS:PORT; the only thing that a task can then reach.
            None: tasks have no network.
        instances: tasks that run at a time.
        queue: tasks that may wait; 0: answer ``busy`` while every instance runs, as the
            original did.
        per_client: tasks that one client may have waiting or running.
        uploads_per_client: uploads that one client may have under way.
        upload_size: bytes of an upload.
        upload_seconds: seconds that an upload may take.
        keep_seconds: seconds that a result can be asked for.
        tokens: client names by their bearer token. Without this and ``tokens_file`` no token is
            asked for; either of them that is set and has no token in it is an error.
        tokens_file: a file with ``NAME TOKEN`` lines, so that the settings hold no secret.
        notify_format: ``json`` or ``form``, for requests that do not say.
        notify_allow: host names and networks that may be notified although they are private.
        notify_refuse: networks that may not be notified although they are public, beside those
            that this machine is in.
        notify_seconds: seconds for which an unreachable target is tried again.
        limits: what a task may use.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    state: Path = Path("/var/lib/grader")
    images: Path = Path("/run/sandbox/images")
    image: str = "default"
    engine: str = "bubblewrap"
    engines: tuple[str, ...] = ("bubblewrap",)
    uml_kernel: Path = Path("/usr/bin/linux.uml")
    uml_images: Path = Path("/var/lib/sandbox")
    network: tuple[str, ...] = ()
    proxy: str | None = None
    instances: int = 2
    queue: int = 100
    per_client: int = 50
    uploads_per_client: int = 8
    upload_size: int = 64 * MIB
    upload_seconds: float = 60
    keep_seconds: float = 24 * 3600
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    tokens_file: Path | None = None
    notify_format: str = "json"
    notify_allow: tuple[str, ...] = ()
    notify_refuse: tuple[str, ...] = ()
    notify_seconds: float = 600
    limits: Limits = field(default_factory=Limits)


def load(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        ConfigError: it cannot be read, or a key or type in it is wrong.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        settings: Settings = typed.of(Settings, data, strict=True)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if "tokens" in data:
        _check_tokens([(name, token) for token, name in settings.tokens.items()], f"{path}: tokens")
    if settings.tokens_file:
        tokens = {**settings.tokens, **_tokens(settings.tokens_file)}
        settings = dataclasses.replace(settings, tokens=tokens)
    for entry in settings.notify_refuse:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise ConfigError(f"{path}: notify_refuse: {error}") from None
    if settings.notify_format not in ("json", "form"):
        raise ConfigError(f"{path}: notify_format is neither json nor form")
    for name in settings.engines:
        if name not in ENGINES:
            raise ConfigError(f"{path}: unknown engine {name}", hint=f"known: {', '.join(ENGINES)}")
    if settings.engine not in settings.engines:
        raise ConfigError(f"{path}: engine {settings.engine!r} is not among engines")
    return settings


def _tokens(path: Path) -> dict[str, str]:
    hint = "lines of NAME TOKEN; as root: grader-token NAME"
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint=hint) from None
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:  # the line itself may be a secret
            raise ConfigError(f"{path}, line {number}: {len(words)} words", hint=hint)
        pairs.append((words[0], words[1]))
    _check_tokens(pairs, str(path))
    return {token: name for name, token in pairs}


def _check_tokens(pairs: list[tuple[str, str]], where: str) -> None:
    """Refuse what would let in more than those who are named.

    A file that was cut off by a power failure, or a table that was left empty, must not be read
    as the wish to ask nobody for a token.
    """
    if not pairs:
        raise ConfigError(
            f"{where}: no token in it", hint="as root: grader-token NAME; or leave the key out"
        )
    owners: dict[str, str] = {}
    for name, token in pairs:
        if not name.strip() or not token.strip():
            raise ConfigError(f"{where}: an empty name or token", hint="as root: grader-token NAME")
        if owners.setdefault(token, name) != name:
            raise ConfigError(f"{where}: {owners[token]} and {name} have the same token")
