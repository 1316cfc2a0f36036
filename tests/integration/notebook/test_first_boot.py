"""What a power cut on first boot left is made anew; what somebody put there is not touched."""

import json

import pytest
from guest import Guest
from student import Student

STATE = "/var/lib/notebook"
SECRETS = ("proxy-token", "cookie-secret", "metrics-token", "first-password")
LEFT = {"nothing": "", "blanks": r"  \n", "zeros": r"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}
ROUTES = """
import urllib.error, urllib.request
for headers in ({}, {"Authorization": "token "}):
    request = urllib.request.Request("http://127.0.0.1:8001/api/routes", headers=headers)
    try:
        print(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""
CERTIFICATES = """
import itertools, json, shutil, ssl
from pathlib import Path
from provision.guest.pool import tls

root, said = Path("/root/first-boot-tls"), {}
damages = ("gone", "", " ", "0", "half")
for which, left in itertools.product(("key.pem", "cert.pem", "both"), damages):
    shutil.rmtree(root, ignore_errors=True)
    tls.files(root)
    for name in ("key.pem", "cert.pem") if which == "both" else (which,):
        text = (root / name).read_text()
        kept = {"0": chr(0) * 300, "half": text[: len(text) // 2]}.get(left, left)
        (root / name).unlink() if left == "gone" else (root / name).write_text(kept)
    try:
        tls.files(root)
        said[f"{which}, {left}"] = "usable"
    except SystemExit as error:
        said[f"{which}, {left}"] = str(error)
shutil.rmtree(root)
print(json.dumps(said))
"""


@pytest.mark.parametrize("left", LEFT)
def test_a_secret_that_is_none_is_made_anew(guest: Guest, left: str) -> None:
    guest.run(
        f"systemctl stop notebook notebook-proxy; cd {STATE};"
        f" for name in {' '.join(SECRETS)}; do printf '{LEFT[left]}' > $name; done;"
        " systemctl start notebook-proxy notebook"
    )
    guest.wait()
    for name in SECRETS:
        made = guest.run(f"cat {STATE}/{name}")
        assert len(made) >= 32, name
        assert made.isprintable(), name
        told = guest.run(f"stat -c '%a %U' {STATE}/{name} {STATE}").split()
        assert told[:2] == ["600", told[3]], name
    password = guest.run(f"cat {STATE}/first-password")
    admin = Student(guest.url, "sageadm", password).sign_in()
    assert admin.json("GET", "/hub/api/users/sageadm")["admin"]
    # Whoever has no token of the proxy's changes nothing in it.
    assert guest.run(f"python3 -c '{ROUTES}'").split() == ["403", "403"]


def test_half_a_certificate_is_made_whole(guest: Guest) -> None:
    said = json.loads(guest.run(f"/opt/notebook/bin/python -I - << 'END'{CERTIFICATES}END"))
    assert said == dict.fromkeys(said, "usable")


@pytest.mark.parametrize("left", ["nothing", "zeros"])
def test_half_a_key_is_made_anew(guest: Guest, left: str) -> None:
    pool, host = "/home/sageadm/.ssh/id_ed25519", "/etc/ssh/ssh_host_rsa_key"
    guest.run(f"for key in {pool} {host}; do printf '{LEFT[left]}' > $key; done")
    guest.run("systemctl restart appliance-keys sshd-pool")
    guest.wait()
    for key in (pool, host):
        private, public = guest.run(f"ssh-keygen -y -f {key}; cat {key}.pub").splitlines()
        assert private.split()[:2] == public.split()[:2]
    kim = Student(guest.url, f"after{left}").sign_in().start()
    assert kim.kernel().run("1 + 1") == "2"
    kim.stop()


@pytest.mark.parametrize("left", ["nothing", "zeros"])
def test_half_a_public_key_is_written_anew(guest: Guest, left: str) -> None:
    pool = "/home/sageadm/.ssh/id_ed25519"
    before = guest.run(f"sha256sum {pool}; cut -d' ' -f1,2 {pool}.pub")
    guest.run(f"printf '{LEFT[left]}' > {pool}.pub; systemctl restart appliance-keys sshd-pool")
    guest.wait()
    assert guest.run(f"sha256sum {pool}; cut -d' ' -f1,2 {pool}.pub") == before
