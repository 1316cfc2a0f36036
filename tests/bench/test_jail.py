"""The jail against safeexec's published floor: it polls every 67 ms, so nothing takes less."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.jail.conftest import ROOT, jail

__all__ = ["jail"]

SAFEEXEC_POLL = 0.067


def test_a_line_of_python(jail: Path) -> None:
    program = ["/bin/python3", "-S", "-c", "print(1+1)"]
    ours = [sys.executable, "-IS", "-c"]
    ours += [
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'safeexec'\n"
        "from provision.guest.jail.safeexec import main; sys.exit(main())"
    ]
    ours += ["--chroot_dir", str(jail), "--env_vars", "PY", "--exec", *program]
    # At the same priority: safeexec runs the program at niceness 16.
    bare = [
        "nice",
        "-n",
        "16",
        "bwrap",
        "--unshare-all",
        "--ro-bind",
        str(jail),
        "/",
        "--proc",
        "/proc",
    ]
    bare += ["--dev", "/dev", "--setenv", "PYTHONHOME", "/", *program]
    times: dict[str, list[float]] = {"jail": [], "bare": []}
    for _ in range(30):
        for name, argv in (("jail", ours), ("bare", bare)):
            begun = time.perf_counter()
            done = subprocess.run(argv, capture_output=True, check=True, env=dict(os.environ))
            times[name].append(time.perf_counter() - begun)
            assert done.stdout == b"2\n"
    best, middle = min(times["jail"]), statistics.median(times["jail"])
    floor = statistics.median(times["bare"])
    sys.stderr.write(
        f"\nprint(1+1): jail p50 {1000 * middle:.1f} ms, best {1000 * best:.1f} ms; bare "
        f"bubblewrap p50 {1000 * floor:.1f} ms; safeexec's poll floor 67 ms\n"
    )
    # Other work on the machine slows us but not a published figure: measure us by our floor.
    assert best < SAFEEXEC_POLL or middle < floor + SAFEEXEC_POLL
