"""A small school in an LDAP directory, for Debian's slapd."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.waiting import until_it_listens

# Where Debian's package has its own files, and where the directory's go.
SETTINGS = """
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
include {root}/etc/ldap/schema/nis.schema
modulepath {root}/usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
database mdb
suffix dc=school,dc=test
directory {place}
"""
ENTRIES = """
dn: dc=school,dc=test
objectClass: dcObject
objectClass: organization
o: school
dc: school

dn: ou=people,dc=school,dc=test
objectClass: organizationalUnit
ou: people

dn: uid=emmy,ou=people,dc=school,dc=test
objectClass: inetOrgPerson
cn: Emmy
sn: Noether
uid: emmy
userPassword: invariant

dn: uid=carl,ou=people,dc=school,dc=test
objectClass: inetOrgPerson
cn: Carl
sn: Gauss
uid: carl
userPassword: curvature

dn: cn=math,dc=school,dc=test
objectClass: groupOfNames
cn: math
member: uid=emmy,ou=people,dc=school,dc=test
"""
TEMPLATE = "uid={username},ou=people,dc=school,dc=test"
MATH = "cn=math,dc=school,dc=test"
REFUSED = (
    *(("emmy", "wrong"), ("emmy", ""), ("nobody", "invariant"), ("*", "invariant")),
    *(("carl", "curvature"), ("emmy,ou=people", "invariant")),  # carl: not of the group
)


def unpack(place: Path) -> None:
    """Bring Debian's slapd and its libraries into a directory; installed, it would be a service."""
    place.mkdir(parents=True)
    apt = ["apt-get", "-q", "-oAPT::Sandbox::User=root", "download", "slapd"]
    told = subprocess.run(
        ["apt-cache", "depends", "slapd"], check=True, capture_output=True, text=True
    ).stdout
    words = [line.split() for line in told.splitlines()]
    apt += [word[1] for word in words if word[0] == "Depends:" and word[1].startswith("lib")]
    subprocess.run(apt, cwd=place, check=True)
    for deb in place.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", deb, place], check=True)
        deb.unlink()


@contextmanager
def directory(root: Path, place: Path, port: int) -> Iterator[None]:
    """Run slapd on loopback.

    Args:
        root: from ``unpack``.
        place: a directory for its database, made anew.
        port: to listen on.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    settings, entries = place / "slapd.conf", place / "entries.ldif"
    settings.write_text(SETTINGS.format(root=root, place=place))
    entries.write_text(ENTRIES)
    libraries = {path.parent for path in root.glob("**/lib*.so.*")}
    env = {"PATH": "/usr/sbin:/usr/bin", "LD_LIBRARY_PATH": ":".join(map(str, sorted(libraries)))}
    slapd = root / "usr/sbin/slapd"
    add = [slapd, "-T", "add", "-f", settings, "-l", entries]
    subprocess.run(add, env=env, check=True)
    serve = [slapd, "-f", settings, "-h", f"ldap://127.0.0.1:{port}", "-d", "0"]
    with (place / "log").open("wb") as log, subprocess.Popen(serve, env=env, stderr=log) as server:
        try:
            until_it_listens(server, port, place / "log")
            yield
        finally:
            server.terminate()
