"""The native-speed runtime itself, by what a caller of it relies on."""

from pathlib import Path

from provision.machine.nspawn import NspawnMachine
from provision.machine.ssh import connect, execute


def test_a_guest_whose_power_was_cut_boots_from_what_it_had_written(
    base: Path, tmp_path: Path
) -> None:
    machine = NspawnMachine([base], tmp_path / "upper")
    with connect(machine.start()) as client:
        assert execute(client, "echo lesson > /root/board; sync").status == 0
    machine.cut()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["upper"]
    with machine, connect(machine.start()) as client:
        assert execute(client, "cat /root/board").stdout == "lesson\n"
