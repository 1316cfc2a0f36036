"""Automatic updates."""

import re

from provision.config import Config
from provision.verify.registry import Facts, Problems, check

TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")


def setting(dump: str, name: str) -> str | None:
    """One value of `apt-config dump`; None when it is not set."""
    found = re.findall(rf'^{re.escape(name)} "(.*)";$', dump, re.MULTILINE)
    return found[-1] if found else None


@check("inside", how="apt-config dump")
def updates_enabled(config: Config, facts: Facts) -> Problems:
    """Updates are installed every day, as configured."""
    wanted = "1" if config.unattended_upgrades.enabled else "0"
    for name in ("Update-Package-Lists", "Unattended-Upgrade"):
        value = setting(facts["apt"], f"APT::Periodic::{name}")
        if value != wanted:
            yield f"{name} is {value}"


@check("inside", how="ask systemd")
def update_timers(config: Config, facts: Facts) -> Problems:
    """The timers that start updates run."""
    for name in TIMERS:
        if facts["units"].get(name, {}).get("active") != "active":
            yield f"{name} does not run"


@check("inside", how="apt-config dump")
def update_policy(config: Config, facts: Facts) -> Problems:
    """Origins, mail and restart of updates are as configured."""
    policy, dump = config.unattended_upgrades, facts["apt"]
    prefix = "Unattended-Upgrade"
    origins = re.findall(rf'^{prefix}::(?:Origins-Pattern|Allowed-Origins):: "(.*)";$', dump, re.M)
    if not any("ecurity" in origin for origin in origins):
        yield "security updates are not among the origins"
    if policy.origins == "security" and any("ecurity" not in origin for origin in origins):
        yield "other updates than security's are among the origins"
    if policy.mail != "never" and setting(dump, f"{prefix}::Mail") in (None, ""):
        yield "nobody gets mail"
    report = {"on-failure": "only-on-error", "always": "always"}.get(policy.mail)
    if report and setting(dump, f"{prefix}::MailReport") != report:
        yield f"mail is sent {setting(dump, f'{prefix}::MailReport')}"
    if setting(dump, f"{prefix}::Automatic-Reboot") != str(policy.reboot).lower():
        yield f"Automatic-Reboot is {setting(dump, f'{prefix}::Automatic-Reboot')}"
    if policy.reboot and setting(dump, f"{prefix}::Automatic-Reboot-Time") != policy.reboot_time:
        yield f"it restarts at {setting(dump, f'{prefix}::Automatic-Reboot-Time')}"


@check("inside", how="unattended-upgrade --dry-run")
def updates_run(config: Config, facts: Facts) -> Problems:
    """An update run goes through."""
    run = facts["unattended"]
    if config.unattended_upgrades.enabled and run["status"]:
        yield f"status {run['status']}: {run['told'].strip()[-200:]}"
