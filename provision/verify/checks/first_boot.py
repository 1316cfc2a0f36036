"""What every copy of the image makes for itself, and what the image itself must not hold."""

import re

from provision.config import Config
from provision.verify.registry import Facts, Problems, check

HISTORY = re.compile(r"\.(bash|python|lesshst|wget|viminfo|node_repl)_?(history|hsts|hst)?$")


@check("copies", how="two first boots of the same image")
def machine_id_unique(config: Config, facts: Facts) -> Problems:
    """Every copy of the image has its own machine-id."""
    first, second = (facts[copy]["machine_id"] for copy in ("first", "second"))
    if not re.fullmatch(r"[0-9a-f]{32}", first):
        yield f"the machine-id is {first!r}"
    if first == second:
        yield f"both boots had {first}"


@check("copies", how="two first boots of the same image")
def host_keys_unique(config: Config, facts: Facts) -> Problems:
    """Every copy of the image has its own SSH host keys."""
    first, second = (facts[copy]["host_keys"] for copy in ("first", "second"))
    for name in sorted(set(first) & set(second)):
        if first[name]["fingerprint"] == second[name]["fingerprint"]:
            yield f"{name} is the same in both"
    if "ssh_host_ed25519_key.pub" not in first:
        yield "there is no Ed25519 host key"


@check("inside", how="look at owner and mode")
def host_keys_private(config: Config, facts: Facts) -> Problems:
    """Host keys are root's alone."""
    for name, key in facts["host_keys"].items():
        private = key["private"]
        if private is None or private["owner"] != 0 or private["mode"] & 0o077:
            yield f"{name}'s private half is not root's alone"


@check("image", how="read the disk image before its first boot")
def image_has_no_identity(config: Config, facts: Facts) -> Problems:
    """The image holds no machine-id, host key or random seed."""
    for text in facts["machine_ids"]:
        if re.fullmatch(r"[0-9a-f]{32}", text):
            yield f"it holds the machine-id {text}"
    directories = facts["directories"]
    yield from (f"/etc/ssh/{n}" for n in directories["/etc/ssh"] if n.startswith("ssh_host_"))
    for name in ("random-seed", "credential.secret"):
        if name in directories["/var/lib/systemd"]:
            yield f"it holds /var/lib/systemd/{name}"


@check("image", how="search every block of the disk images")
def image_has_no_private_key(config: Config, facts: Facts) -> Problems:
    """The image holds no private key, not even in deleted files."""
    if facts["private_keys"]:
        yield f"it holds {facts['private_keys']} OpenSSH private keys"


@check("image", how="read the disk image before its first boot")
def image_is_clean(config: Config, facts: Facts) -> Problems:
    """The image holds no trace of its making: history, keys, logs, caches."""
    directories = facts["directories"]
    for path, names in directories.items():
        if path == "/root" or path.startswith("/home/"):
            yield from (f"{path}/{name}" for name in names if HISTORY.search(name))
    yield from (f"/root/.ssh/{name}" for name in directories["/root/.ssh"])
    yield from (f"/root/{name}" for name in directories["/root"] if name == ".ansible")
    yield from (
        f"/etc/ssh/sshd_config.d/{name}"
        for name in directories["/etc/ssh/sshd_config.d"]
        if "build" in name
    )
    yield from (
        f"{path}/{name}"
        for path in ("/tmp", "/var/tmp", "/var/log/journal", "/var/mail")
        for name in directories[path]
    )
    for path in directories:
        if path.startswith("/home/") and path.endswith("/.ssh"):
            yield from (f"{path}/{n}" for n in directories[path] if n.startswith("id_"))
    yield from (
        f"/var/cache/apt/archives/{name}"
        for name in directories["/var/cache/apt/archives"]
        if name.endswith(".deb")
    )
    for name, size in directories["/var/log"].items():
        if size and name not in ("README",):
            yield f"/var/log/{name} has {size} bytes"
