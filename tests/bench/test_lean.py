"""Sage from the lock to ready: by pip, as it was, and ours; seconds and bytes, in one guest.

And the default appliance's OVA beside that of commit 48dae48, whose size is any machine's.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import resources
from provision.build.build import build, request
from provision.build.request import BUILD_CA_BUNDLE
from provision.config import Config

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, booted, installed_layers, sage_layer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

OVA_BEFORE = 1898 << 20
PREFIX, LOCK = "/opt/sage-bench", "/opt/sage-10.8.lock"
# As install-wheels.sh had it before: all by pip, one after the other, and all is kept.
EARLIER = f"""set -eu
pip="{PREFIX}/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes"
python3 -m venv {PREFIX}
awk '/^[a-z]/ {{ w = 0 }} /^(cython|setuptools)==/ {{ w = 1 }} w' {LOCK} > /root/tools
$pip --only-binary :all: -r /root/tools
$pip --no-build-isolation --only-binary :all: --no-binary memory-allocator -r {LOCK}
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest with all that Sage is compiled with; its own Sage is left alone."""
    scratch = tmp_path_factory.mktemp("lean")
    layers = installed_layers(scratch)
    layers.append(sage_layer(layers, scratch, lean=False))
    with booted(layers, scratch / "upper", forwards={}, log=scratch / "log") as (_, root):
        yield Guest("", root)


def measured(guest: Guest, script: str) -> tuple[float, int, int]:
    """Seconds that a script takes; megabytes of what it leaves, and of that compressed."""
    guest.run(f"rm -rf {PREFIX}")
    begun = time.monotonic()
    environment = f"export PIP_CERT={BUILD_CA_BUNDLE} SSL_CERT_FILE={BUILD_CA_BUNDLE}\n"
    environment = environment if guest.run(f"ls {BUILD_CA_BUNDLE} || true") else ""
    guest.run(f"sh -s <<'END OF SCRIPT'\n{environment}{script}\nEND OF SCRIPT\n", 1800)
    seconds = time.monotonic() - begun
    size = int(guest.run(f"du -sm {PREFIX}").split()[0])
    packed = int(guest.run(f"tar -C /opt -c {Path(PREFIX).name} | gzip -1 | wc -c", 900))
    return seconds, size, packed >> 20


def test_from_the_lock_to_ready(guest: Guest) -> None:
    install = (resources.PACKAGE / "guest/sage/install-wheels.sh").read_text()
    lean = (resources.PACKAGE / "guest/sage/lean.py").read_text()
    ours = (
        f"set -- {PREFIX} {LOCK}\n{install}\n"
        f"python3 - {PREFIX} <<'END OF LEAN.PY'\n{lean}END OF LEAN.PY"
    )
    was, now = measured(guest, EARLIER), measured(guest, ours)
    for name, old, new in zip(("seconds", "MB", "MB compressed"), was, now, strict=True):
        print(f"{name}: {old:.0f} -> {new:.0f}, {new / old:.2f}")
    assert now[0] < 0.9 * was[0]
    assert now[1] < 0.45 * was[1]
    assert now[2] < 0.55 * was[2]


def test_the_ova(tmp_path: Path) -> None:
    built = build(request(Config()), tmp_path / "sage.ova", with_vm=False)
    root = built.disks[0].stat().st_blocks * 512
    share = built.size / OVA_BEFORE
    print(f"OVA {built.size / 2**20:.0f} MiB, {share:.3f}; root disk {root / 1e6:.0f} MB")
    assert share <= 0.55
