"""The running system: packages, units, locale, time, journal, hardening."""

import re

from provision.config import Config
from provision.verify.registry import Facts, Problems, check

PROMISED = (
    "bsd-mailx", "checksecurity", "dtach", "elinks", "g++", "gcc", "imagemagick",
    "lockfile-progs", "logrotate", "make", "openssh-server", "unattended-upgrades", "wget",
)  # fmt: skip
SERVICES = (
    "ssh.service", "nftables.service", "systemd-journald.service", "systemd-networkd.service",
    "systemd-timesyncd.service", "cron.service",
)  # fmt: skip
NOT_IN_CONTAINERS = ("systemd-timesyncd.service",)  # the host sets the clock
TIMERS = ("logrotate.timer", "systemd-tmpfiles-clean.timer")
JOURNAL_BYTES = 500 << 20


@check("inside", how="ask dpkg")
def packages(config: Config, facts: Facts) -> Problems:
    """Every promised package is installed."""
    for name in (*PROMISED, *config.packages):
        if name not in facts["packages"]:
            yield f"{name} is missing"


@check("inside", how="read /etc/os-release")
def distribution(config: Config, facts: Facts) -> Problems:
    """The guest runs the configured release."""
    release = facts["os_release"]
    if (release["ID"], release.get("VERSION_CODENAME")) != (config.distribution, config.suite):
        yield f"it is {release['ID']} {release.get('VERSION_CODENAME')}"


@check("inside", how="ask systemd once the boot is over")
def no_failed_unit(config: Config, facts: Facts) -> Problems:
    """The system is up and no unit has failed."""
    yield from (f"{unit} failed" for unit in facts["failed_units"])
    if facts["state"] != "running":
        yield f"the system is {facts['state'] or 'not ready in time'}"


@check("inside", how="ask systemd for each service")
def services(config: Config, facts: Facts) -> Problems:
    """Every basic service runs."""
    container = facts["virtualization"] == "systemd-nspawn"
    for name in SERVICES:
        if container and name in NOT_IN_CONTAINERS:
            continue
        unit = facts["units"].get(name)
        if unit is None:
            yield f"{name} is not installed"
        elif unit["active"] != "active":
            yield f"{name} is {unit['active']}"


@check("inside", how="ask systemd for each timer")
def timers(config: Config, facts: Facts) -> Problems:
    """The housekeeping timers run."""
    for name in TIMERS:
        if facts["units"].get(name, {}).get("active") != "active":
            yield f"{name} does not run"


@check("inside", how="read the locale and generate none")
def locale(config: Config, facts: Facts) -> Problems:
    """The configured locale is set and there."""
    if facts["locale"].get("LANG", "").strip('"') != config.locale:
        yield f"LANG is {facts['locale'].get('LANG', 'not set')}"
    if _plain(config.locale) not in {_plain(name) for name in facts["locales"]}:
        yield f"{config.locale} was not generated"
    elif facts["charmap"] != "UTF-8":
        yield f"its character set is {facts['charmap'] or 'not known'}"


def _plain(locale: str) -> str:
    return locale.lower().replace("-", "")


@check("inside", how="follow /etc/localtime to its file")
def timezone(config: Config, facts: Facts) -> Problems:
    """The configured time zone is set."""
    if facts["timezone"] not in (config.timezone, f"Etc/{config.timezone}"):
        yield f"it is {facts['timezone'] or 'not set'}"


@check("inside", how="make a keymap of /etc/default/keyboard")
def keyboard(config: Config, facts: Facts) -> Problems:
    """The configured keyboard layout is set."""
    if facts["keyboard"].get("XKBLAYOUT") != config.keyboard:
        yield f"it is {facts['keyboard'].get('XKBLAYOUT', 'not set')}"


@check("inside", how="ask the kernel")
def host_name(config: Config, facts: Facts) -> Problems:
    """The guest has the configured name."""
    if facts["hostname"] != config.name:
        yield f"it is {facts['hostname']}"


@check("inside", how="read the journal's effective configuration")
def journal_limits(config: Config, facts: Facts) -> Problems:
    """The journal is kept over restarts and cannot fill the disk."""
    limits = re.findall(r"^SystemMaxUse=(\d+)([KMG]?)", facts["journald"], re.MULTILINE)
    if not limits:
        yield "SystemMaxUse is not set"
    else:
        number, unit = limits[-1]
        size = int(number) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]
        if size > JOURNAL_BYTES:
            yield f"it may take {number}{unit}"
    if not facts["journal_persistent"]:
        yield "it is kept in memory only"


@check("inside", how="sshd -T for the administrator")
def sshd_hardened(config: Config, facts: Facts) -> Problems:
    """The SSH server takes keys only, and never root."""
    expected = {
        "permitrootlogin": "no",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "permitemptypasswords": "no",
        "x11forwarding": "no",
    }
    for option, value in expected.items():
        if facts["sshd"].get(option) != value:
            yield f"{option} is {facts['sshd'].get(option)}"


@check("inside", how="send root a letter and look into the mailbox")
def mail(config: Config, facts: Facts) -> Problems:
    """Mail to root arrives, however long its lines are."""
    if config.mail.root is None and config.mail.smarthost is None and not facts["mail"]:
        yield f"a letter to root did not reach {config.admin.user} within 10 s"


@check("inside", how="look at owner and mode")
def modes(config: Config, facts: Facts) -> Problems:
    """System files and directories have the right owner and mode."""
    expected = {
        "/etc/shadow": 0o640, "/etc/sudoers": 0o440, "/root": 0o700,
        "/tmp": 0o1777, "/var/tmp": 0o1777, "/home": 0o755,
    }  # fmt: skip
    for path, mode in expected.items():
        entry = facts["paths"][path]
        if entry is None or entry["owner"] != 0 or entry["mode"] != mode:
            yield f"{path}: " + (
                f"{entry['mode']:04o}, owner {entry['owner']}" if entry else "missing"
            )
