"""What the playbooks promise, asked of a sealed appliance after its first boot, over SSH."""

import re
import subprocess

import pytest

from provision.config import words
from tests.integration.conftest import CONFIG

ADMIN = "sageadm"
SETUID = {
    "/usr/bin/chfn",
    "/usr/bin/chsh",
    "/usr/bin/gpasswd",
    "/usr/bin/mount",
    "/usr/bin/newgrp",
    "/usr/bin/passwd",
    "/usr/bin/su",
    "/usr/bin/sudo",
    "/usr/bin/umount",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/lib/dma/dma-mbox-create",  # makes a mailbox for an account; group mail only
    "/usr/lib/openssh/ssh-keysign",
}
PACKAGE_OF_MANY_LANGUAGES = """
set -e
cd "$(mktemp -d)"
for language in de en_GB; do
    mkdir -p "p/usr/share/locale/$language/LC_MESSAGES" "p/usr/share/man/$language/man1"
    echo message > "p/usr/share/locale/$language/LC_MESSAGES/greet.mo"
done
mkdir -p p/usr/share/man/man1 p/DEBIAN
echo page | tee p/usr/share/man/man1/greet.1 > p/usr/share/man/de/man1/greet.1
printf '%s\\n' 'Package: greet' 'Version: 1' 'Architecture: all' 'Maintainer: nobody' \\
    'Description: greets' > p/DEBIAN/control
dpkg-deb --root-owner-group --build p greet.deb > built
sudo dpkg -i greet.deb > installed
find /usr/share/locale /usr/share/man -name 'greet.*'
"""


# A line of more than 998 characters is what the mail system refuses.
JOB = "* * * * * root seq -s, 900; echo from-cron-$((40+2))"


@pytest.fixture(scope="module")
def guest(boot, sealed):
    """A sealed appliance, whose cron has had something to do since its start."""
    guest = boot(sealed, user=ADMIN)
    guest.ask(f"echo '{JOB}' | sudo tee /etc/cron.d/probe")
    return guest


def ssh(guest, user: str, *options: str, command: str = "true") -> subprocess.CompletedProcess[str]:
    endpoint = guest.endpoint
    return subprocess.run(
        [
            *("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
            *("-o", f"UserKnownHostsFile={endpoint.known_hosts}", "-i", str(endpoint.key)),
            *("-p", str(endpoint.port), *options, f"{user}@{endpoint.host}", command),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_boots_without_a_failed_unit(guest):
    assert guest.ask("systemctl is-system-running --wait") == "running"


def test_every_promised_package_is_there(guest):
    for command in (
        *("wget", "elinks", "dtach", "unattended-upgrade", "convert", "gcc", "g++", "make", "mail"),
        *("checksecurity", "lockfile-create", "logrotate", "crontab", "sshd", "nft"),
    ):
        guest.ask(f"PATH=$PATH:/usr/sbin command -v {command}")
    assert (
        guest.ask("printf 'int main(){return 42;}' | gcc -x c - -o /tmp/a && /tmp/a; echo $?")
        == "42"
    )


def test_accounts(guest):
    assert guest.ask(f"id -nG {ADMIN}") == f"{ADMIN} adm systemd-journal sageusers"
    for number in (1, 2):
        account = f"nb{number}"
        assert guest.ask(f"id -gn {account}") == "sageusers"
        assert guest.ask(f"id -nG {account}") == "sageusers"
        assert guest.ask(f"stat -c '%a %U' /home/{account}") == f"700 {account}"
    states = guest.ask("sudo cut -d: -f1,2 /etc/shadow | grep -v ':[!*]' || true")
    assert states == "", "every password is locked"
    assert guest.ask("sudo -n id -u") == "0"


def test_admin_reaches_every_pool_account_without_a_prompt(guest):
    for number in (1, 2):
        reached = guest.ask(f"ssh -o BatchMode=yes nb{number}@localhost id -un")
        assert reached == f"nb{number}"
    assert guest.ask("ssh -o BatchMode=yes nb1@127.0.0.1 true; echo $?") == "0"


def test_pool_account_cannot_become_another(guest):
    for attempt in ("sudo -n true", "ssh -o BatchMode=yes nb2@localhost true", f"ls /home/{ADMIN}"):
        told = guest.run(f"ssh nb1@localhost '{attempt}'")
        assert told.status != 0, attempt


@pytest.mark.parametrize("user", ["root", "nb1"])
def test_root_and_pool_accounts_are_refused_from_outside(guest, user):
    # Root's own authorized_keys holds this very key, so it is root that is refused.
    refused = ssh(guest, user)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_no_password_is_asked_for(guest):
    refused = ssh(guest, ADMIN, "-o", "PubkeyAuthentication=no")
    assert "Permission denied (publickey)" in refused.stderr


def test_only_ssh_listens(guest):
    lines = guest.ask("sudo ss -Hltn; sudo ss -Hlun | grep -v ':68 '; true").splitlines()
    ports = {line.split()[-2].rpartition(":")[2] for line in lines}
    assert ports <= {"22", "8000", "8443", *notebook_ports(guest)}


def notebook_ports(guest) -> set[str]:
    """Ports that the notebook opens on loopback, when it is part of this build."""
    lines = guest.ask("sudo ss -Hltn").splitlines()
    local = [line.split()[-2] for line in lines]
    return {address.rpartition(":")[2] for address in local if address.startswith("127.")}


def test_firewall_drops_what_is_not_opened(guest):
    rules = guest.ask("sudo nft list table inet host")
    assert "policy drop" in rules
    assert "tcp dport { 22, 8000, 8443 } accept" in rules


def test_no_setuid_program_is_added(guest):
    found = guest.ask("sudo find / -xdev -perm -4000 -type f").split()
    assert set(found) <= SETUID


def test_mail_of_a_cron_job_lands_in_the_admins_mailbox(guest):
    guest.ask("echo at-once | sudo mail -s probe root")
    wait = "for i in $(seq 45); do grep -q {0} /var/mail/sageadm && break; sleep 1; done"
    guest.ask(f"{wait.format('at-once')}; grep at-once /var/mail/sageadm")
    for _ in range(2):  # cron looks once a minute
        guest.run(wait.format("from-cron-42"))
    assert "from-cron-42" in guest.ask("cat /var/mail/sageadm")
    assert "898,899,900" in guest.ask("cat /var/mail/sageadm")
    assert int(guest.ask("wc -L < /var/mail/sageadm")) < 998
    guest.ask("sudo rm /etc/cron.d/probe")


def test_a_letter_that_is_refused_is_in_the_nightly_report(guest):
    guest.run("printf 'Subject: to nobody\\n\\nx\\n' | sudo sendmail -t")
    guest.ask("sudo systemctl start notebook-report")
    guest.ask(
        "for i in $(seq 45); do grep -q 'to nobody' /var/mail/sageadm && break; sleep 1; done"
    )
    assert "“to nobody” was refused" in guest.ask("cat /var/mail/sageadm")


def test_updates_come_from_the_security_archive_only(guest):
    told = guest.ask("apt-config dump | grep -A9 Unattended-Upgrade::Origins-Pattern")
    assert "Debian-Security" in told
    assert 'codename=${distro_codename}";' not in told
    assert guest.ask("systemctl is-enabled apt-daily-upgrade.timer") == "enabled"
    settings = guest.ask("apt-config dump Unattended-Upgrade; apt-config dump APT::Periodic")
    for setting in (
        'Unattended-Upgrade::Mail "root";',
        'Unattended-Upgrade::MailReport "only-on-error";',
        'Unattended-Upgrade::Automatic-Reboot-Time "04:30";',
        'APT::Periodic::Unattended-Upgrade "1";',
    ):
        assert setting in settings
    guest.ask("sudo apt-get -q update && sudo unattended-upgrade --dry-run")


def test_language_time_and_names(guest):
    assert guest.ask("hostname") == CONFIG.name
    assert "LANG=en_US.UTF-8" in guest.ask("cat /etc/locale.conf")
    assert guest.ask("LC_ALL=en_US.UTF-8 locale charmap") == "UTF-8"
    assert guest.ask("readlink /etc/resolv.conf; getent hosts verify").endswith("verify")
    assert "ssh -p 2222 sageadm@" in guest.ask("cat /etc/issue")


def test_the_guest_has_the_zones_locales_and_layouts_that_a_configuration_may_name(guest):
    zones = guest.ask("cd /usr/share/zoneinfo; find * -type f -o -type l")
    known = {name for name in zones.split() if "." not in name and name[0].isupper()}
    assert known - {"Factory"} == words.zones()
    there = guest.ask("ls -1 /usr/share/i18n/locales")
    locales = re.findall(r"^[a-z]{2,3}_[A-Z]{2}(?:@[a-z]+)?$", there, re.MULTILINE)
    assert set(locales) == words.locales("debian")
    rules = guest.ask("cat /usr/share/X11/xkb/rules/base.lst")
    section = rules.partition("! layout")[2].partition("!")[0]
    layouts = set(re.findall(r"^ +([a-z]{2,8}) ", section, re.MULTILINE))
    assert layouts == {*words.layouts(), "custom"}


def test_only_english_and_the_languages_own_messages_take_room(guest):
    for name in guest.ask("cd /usr/share; ls locale man").split():
        assert name.startswith(("en", "man", "locale"))
    assert sorted(guest.ask(PACKAGE_OF_MANY_LANGUAGES).split()) == [
        "/usr/share/locale/en_GB/LC_MESSAGES/greet.mo",
        "/usr/share/man/man1/greet.1",
    ]


def test_copies_of_one_image_have_identities_of_their_own(boot, guest, sealed):
    other = boot(sealed, user=ADMIN)
    for question in (
        "cat /etc/machine-id",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
        "cat /etc/ssh/ssh_host_rsa_key.pub",
        "cat ~/.ssh/id_ed25519.pub",
    ):
        assert guest.ask(question) != other.ask(question)


def test_playbooks_run_again_on_an_appliance_in_use(guest):
    guest.variables["building"] = False
    guest.ask("sudo systemctl is-system-running --wait")
    first = guest.play("configure")
    assert first.changed == ()
    guest.variables["base_open_ports"] = [8000, 8443, 9000]
    guest.ask("sudo systemctl -q disable systemd-networkd && echo off")
    guest.ask("sudo systemctl -q enable --runtime systemd-networkd && echo for this boot only")
    again = guest.play("configure")
    assert "network : Start the network at boot" in again.changed
    assert guest.ask("systemctl is-enabled systemd-networkd") == "enabled"
    assert "base : Write the system's configuration" in again.changed
    assert "9000" in guest.ask("sudo nft list table inet host")
    assert ssh(guest, "root").returncode == 255
    assert guest.ask("ssh -o BatchMode=yes nb1@localhost id -un") == "nb1"
