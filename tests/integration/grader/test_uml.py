"""The same contract in a User-Mode Linux kernel; the whole suite of attacks runs on it as slow."""

from collections.abc import Callable

from tests.integration.grader.conftest import Grader, python, script

MIB = 1 << 20


def test_a_kernel_of_its_own_and_the_same_contract(
    grader: Callable[..., Grader], uml: dict[str, str]
) -> None:
    limits = {"clock": 4.0, "memory": 128 * MIB, "disk": 32 * MIB, "output": 65536}
    client = grader(limits=limits, engine="uml", engines=["uml", "bubblewrap"], **uml).client
    result = client.result(script("uname -r; echo err >&2; echo fine > output.txt; exit 7"))
    assert (result["status"], result["exit_code"]) == ("failed", 7), result
    assert (result["output"], result["stderr"]) == ("fine\n", "err\n")
    theirs = client.result(script("uname -r"), engine="bubblewrap")["stdout"]
    assert result["stdout"] != theirs
    assert client.result(script("sleep 60"))["status"] == "timeout"
    bomb = client.result(python("x = []\nwhile True: x.append(bytearray(b'x' * (1 << 20)))"))
    assert bomb["status"] in ("failed", "timeout")
    loud = client.result(script("yes"))
    assert loud["stdout"].startswith("y\ny\n")
    assert len(loud["stdout"]) <= 65536
    reach = client.result(
        script("cat /dev/ubda; mount -t hostfs none /mnt; cat /etc/shadow; exit 0")
    )
    assert reach["stdout"] == ""
    assert client.result(b"no tar")["status"] == "failed"
