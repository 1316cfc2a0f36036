"""What `clean` leaves of a root file system."""

import io
import tarfile
from pathlib import Path

import pytest

from provision.errors import ApplianceError, UsageError
from provision.guest.sandbox import image


def cleaned(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> dict[str, tarfile.TarInfo]:
    source = tmp_path / "root.tar"
    with tarfile.open(source, "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    sink = io.BytesIO()
    image.clean(source, sink, 1000)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        found = {member.name: member for member in archive}
        for member in found.values():
            if member.isreg():
                content = archive.extractfile(member)
                assert content
                member.pax_headers = {"content": content.read().decode(errors="replace")}
        return found


def entry(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, 5000
    return member


def test_privilege_secrets_and_noise_are_gone(tmp_path: Path) -> None:
    found = cleaned(
        tmp_path,
        (entry("./usr/bin/su", mode=0o4755), b"x"),
        (entry("./dev/sda", tarfile.BLKTYPE), b""),
        (entry("./dev", tarfile.DIRTYPE), b""),
        (entry("./tmp/left"), b"x"),
        (entry("./etc/shadow"), b"root:x"),
        (entry("./var/log/apt/history.log"), b"x"),
        (entry("./etc/ssh/ssh_host_rsa_key"), b"x"),
    )
    assert found["./usr/bin/su"].mode == 0o755
    assert found["./usr/bin/su"].mtime == 1000
    assert "./dev" in found
    for gone in ("./dev/sda", "./tmp/left", "./etc/shadow", "./etc/ssh/ssh_host_rsa_key"):
        assert gone not in found
    assert not [name for name in found if "var/log" in name]


def test_the_account_and_the_links_are_there(tmp_path: Path) -> None:
    found = cleaned(tmp_path, (entry("./etc/passwd"), b"root:x:0:0::/root:/bin/sh\n"))
    lines = found["etc/passwd"].pax_headers["content"].splitlines()
    assert [line.split(":")[0] for line in lines] == ["root", "student"]
    assert found["etc/group"].pax_headers["content"].startswith("student:")
    assert found["var/tmp"].linkname == "/tmp"
    assert found["tmc"].linkname == "/tmp/task"
    assert found["bin"].linkname == "usr/bin"


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        image.build(image.Recipe("../evil"), tmp_path)


def test_an_altered_image_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.squashfs").write_bytes(b"x")
    with pytest.raises(ApplianceError, match="no readable manifest"):
        image.verify(tmp_path / "a.squashfs")
    (tmp_path / "a.json").write_text('{"sha256": "00"}')
    with pytest.raises(ApplianceError, match="not what its manifest says"):
        image.verify(tmp_path / "a.squashfs")
    assert list(image.manifests(tmp_path)) == ["a"]
