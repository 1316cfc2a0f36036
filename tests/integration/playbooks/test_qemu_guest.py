"""A guest that is emulated, or KVM's: what it writes comes back as a whole layer, by its port."""

import hashlib
from pathlib import Path

import pytest

from provision.build.artefacts import LAYER, whole
from provision.build.build import request
from provision.build.guest import qemu_guest
from provision.config import Config
from provision.machine.ssh import connect, execute

WRITES = """
mkdir -p /srv/made && cd /srv/made && head -c 50000000 /dev/urandom > random && ln random again
ln -s random link && mkfifo pipe && chown 1234:4321 random
touch "$(printf 'a\\nname')" && setfattr -n user.note -v kept link 2> /dev/null || true
sha256sum < random
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_a_guest_wrote_is_the_layer(base: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    with qemu_guest(request(Config()), [base], part) as endpoint, connect(endpoint) as client:
        done = execute(client, WRITES, timeout=300)
        assert done.status == 0, done
    assert whole(part)
    made = part / LAYER / "srv/made"
    digest = hashlib.sha256((made / "random").read_bytes()).hexdigest()
    assert done.stdout.split()[0] == digest
    assert (made / "random").samefile(made / "again")
    status = (made / "random").stat()
    assert (status.st_uid, status.st_gid) == (1234, 4321)
    assert (made / "link").readlink() == Path("random")
    assert (made / "a\nname").exists()
    assert not (part / LAYER / "etc/systemd/network/99-build.network").exists()
    before = {path.name for path in (base / "usr/bin").iterdir()}
    assert before == {path.name for path in (part / LAYER / "usr/bin").iterdir()}
