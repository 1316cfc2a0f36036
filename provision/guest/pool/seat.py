"""Be the seat that the host says: take its host name, and the size of its pool, at boot.

The credential is words such as ``name=sage-07 pool=12``. What is right already is left alone, so
a boot with nothing new writes nothing. A pool that shrinks leaves its accounts and their files,
but nobody gets in by them; one that grows makes accounts as those of the image are.

What follows from the pool's accounts is rendered from the record of the pool, with the templates
by which the image was made. Lines that an administrator wrote beside these stay.
"""

import difflib
import json
import os
import pwd
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from provision.guest import record

ROOT = Path("/")
TEMPLATES = Path("/usr/local/lib/appliance/templates")
RECORD = "etc/notebook/pool.json"
START = "usr/local/bin/start-notebook"
GUEST = str(record.PLACE.relative_to("/"))
RENDERED = {
    "etc/notebook/firewall.nft": "notebook/firewall.nft.j2",
    "etc/notebook/sshd_config": "notebook/sshd_config.j2",
    "etc/ssh/sshd_config.d/50-appliance.conf": "base/sshd.conf.j2",
    "etc/aliases": "mail/aliases.j2",
}
# Of each account: its limits, and no service manager.
UNITS = {
    "user-{}.slice": "notebook/user.slice.j2",
    "user@{}.service": "notebook/never.conf.j2",
    "user-runtime-dir@{}.service": "notebook/never.conf.j2",
}
MOST = 999

Record = dict[str, Any]  # variables of the playbooks, by their names


def main() -> int:
    """Do what the credential says; whether all of it made sense."""
    text = Path(os.environ["CREDENTIALS_DIRECTORY"], "appliance.seat").read_text()
    told = dict(word.split("=", 1) for word in text.split() if "=" in word)
    bad = [f"{key}={value}" for key, value in told.items() if not good(key, value)]
    for word in bad:
        sys.stderr.write(f"left alone, for it makes no sense: {word}\n")
        del told[word.partition("=")[0]]
    if "name" in told:
        rename(told["name"])
    if "pool" in told and resize(int(told["pool"])):
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    return 1 if bad else 0


def good(key: str, value: str) -> bool:
    """Whether a word of the credential makes sense."""
    if key == "name":
        return bool(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value))
    return key != "pool" or (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST)


def rename(name: str) -> None:
    """Give the machine its name."""
    old = (ROOT / "etc/hostname").read_text().strip()
    replace("etc/hostname", lambda _: f"{name}\n")
    replace("etc/hosts", lambda text: re.sub(r"(?m)^127\.0\.1\.1 .*$", f"127.0.1.1 {name}", text))
    replace("etc/mailname", lambda text: f"{name}\n" if text.strip() == old else text)
    replace("etc/issue", lambda text: re.sub(rf"(?m)^{re.escape(old)} ", f"{name} ", text))
    socket.sethostname(name)


def resize(count: int) -> bool:
    """Bring the pool to a size; whether that changed a file."""
    before: Record = json.loads((ROOT / RECORD).read_text())
    first = before["notebook_first_id"]
    names = [f"{prefix(before)}{number}" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        make_account(name, first + number, before["pool_group"])
    made = max(count, before["notebook_made"])
    after = {**before, "pool_accounts": names, "notebook_made": made}
    old, new = render(before), render(after)
    changed = [replace(path, partial(carry, old.get(path, ""), new[path])) for path in new]
    changed.append(replace(START, lambda text: offering(text, names)))
    changed.append(replace(GUEST, lambda text: leasing(text, names)))
    os.sync()  # the record comes last: after a power cut all is done again
    replace(RECORD, lambda _: json.dumps(after) + "\n")
    return any(changed)


def prefix(record: Record) -> str:
    """How the pool's accounts are called, before their numbers."""
    return str(record["pool_accounts"][0]).rstrip("0123456789")


def render(record: Record) -> dict[str, str]:
    """What follows from the record: texts by their paths, as Ansible renders them."""
    jinja = Environment(  # noqa: S701 (no HTML)
        loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    record = {**record, "ansible_managed": "Ansible managed"}
    texts = {path: jinja.get_template(name).render(record) for path, name in RENDERED.items()}
    first = record["notebook_first_id"]
    for uid in range(first, first + record["notebook_made"]):
        for unit, name in UNITS.items():
            text = jinja.get_template(name).render(record, item={"uid": uid})
            texts[f"etc/systemd/system/{unit.format(uid)}.d/pool.conf"] = text
    return texts


def carry(old: str, new: str, text: str) -> str:
    """Change what differs between two texts in a third, which was the first of them once.

    Returns:
        The text, with what was written into it besides; the new one, where what changes is no
        longer in it as it was.
    """
    if not text or text in (old, new):
        return new
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if kind != "equal":
            part = "".join(before[max(i - 1, 0) : j])  # the line before says where
            if text.count(part) != 1:
                return new
            text = text.replace(part, "".join(after[max(k - 1, 0) : m]))
    return text


def offering(text: str, names: list[str]) -> str:
    """The start script with these accounts of this machine; those of others stay."""

    def merge(found: "re.Match[str]") -> str:
        away = [s for s in re.findall(r'"([^"]*)"', found[2]) if not s.endswith("@localhost")]
        return found[1] + json.dumps([*(f"{name}@localhost" for name in names), *away])[1:]

    return re.sub(r"(server_pool=\[)([^\]]*)\]", merge, text)


def leasing(text: str, names: list[str]) -> str:
    """The appliance's record with these accounts of this machine; those of others stay."""
    told = json.loads(text)
    away = [entry for entry in told["accounts"] if not entry.endswith("@localhost")]
    accounts = [*(f"{name}@localhost" for name in names), *away]
    return text if accounts == told["accounts"] else json.dumps({**told, "accounts": accounts})


def make_account(name: str, uid: int, group: str) -> None:
    """Make an account of the pool, unless it is there."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--uid", str(uid), "--gid", group, "--no-user-group"]
        like = ["--no-create-home", "--comment", "Notebook session", "--shell", "/bin/bash"]
        subprocess.run([*command, *like, name], check=True)


def make_homes() -> int:
    """Once the disk of /home is there: a directory for each account that has none."""
    pattern = re.escape(prefix(json.loads((ROOT / RECORD).read_text()))) + "[0-9]+"
    for account in pwd.getpwall():
        home = Path(account.pw_dir)
        if re.fullmatch(pattern, account.pw_name) and not home.exists():
            home.mkdir(mode=0o700)
            os.chown(home, account.pw_uid, account.pw_gid)
    return 0


def replace(path: str, change: Callable[[str], str]) -> bool:
    """Rewrite a file in one step; whether it changed."""
    file = ROOT / path
    known = file.exists()
    before = file.read_text() if known else ""
    after = change(before)
    if after == before:
        return False
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f".{file.name}.seat")
    part.write_text(after)
    if known:
        was = file.stat()
        os.chown(part, was.st_uid, was.st_gid)
    part.chmod(was.st_mode & 0o777 if known else 0o644)
    part.replace(file)
    return True


if __name__ == "__main__":
    sys.exit(make_homes() if sys.argv[1:] == ["homes"] else main())
