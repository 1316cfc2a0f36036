"""What VirtualBox says of other tools' OVAs, and of broken ones, `appliance inspect` says too."""

import gzip
import io
import re
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.errors import VerificationError
from provision.ova import OvaAppliance, OvaDisk, inspect, write_ova
from tests.unit.ova.test_inspection import VMWARE, Members, packed, relisted, unpacked
from vbox import VBoxManage
from vbox.errors import VBoxError

pytestmark = pytest.mark.slow
Change = Callable[[Members], Members]


@dataclass(frozen=True)
class Case:
    """One OVA.

    Args:
        change: of the members of a good one.
        good: what VirtualBox and we are to say.
        stricter: we refuse what VirtualBox takes.
        pack: how they become a file.
    """

    change: Change = dict
    good: bool = True
    stricter: bool = False
    pack: Callable[[Members], bytes] = packed


def envelope(old: str, new: str) -> Change:
    """Change the envelope's text, and list it anew."""

    def change(members: Members) -> Members:
        text = members["sage.ovf"].decode()
        assert re.search(old, text), old
        return relisted({**members, "sage.ovf": re.sub(old, new, text).encode()})

    return change


def manifest(algorithm: str, form: str = "{}({})= {}\n", told: str = "") -> Change:
    """A manifest as another tool writes it."""

    def change(members: Members) -> Members:
        listed = relisted(members, algorithm, form)
        listed["sage.mf"] = listed["sage.mf"].replace(
            algorithm.encode(), (told or algorithm).encode()
        )
        return listed

    return change


def manifest_text(change: Callable[[bytes], bytes]) -> Change:
    return lambda members: {**members, "sage.mf": change(members["sage.mf"])}


def unlisted(name: str) -> Change:
    return manifest_text(
        lambda text: b"".join(
            line for line in text.splitlines(keepends=True) if name.encode() not in line
        )
    )


def without(*names: str) -> Change:
    return lambda members: {n: d for n, d in members.items() if n not in names}


def first(*names: str) -> Change:
    """Other members in front."""
    return lambda members: {**{n: members[n] for n in names}, **members}


def flipped(name: str, where: float) -> Change:
    def change(members: Members) -> Members:
        data = bytearray(members[name])
        data[int(len(data) * where)] ^= 1
        return {**members, name: bytes(data)}

    return change


def compressed(members: Members) -> Members:
    data = gzip.compress(members["sage-home.vmdk"])
    packed_one = renamed("sage-home.vmdk", "sage-home.vmdk.gz")(members) | {
        "sage-home.vmdk.gz": data
    }
    return envelope(
        r'(href="sage-home.vmdk.gz"[^>]*) ovf:size="\d+"',
        rf'\1 ovf:size="{len(data)}" ovf:compression="gzip"',
    )(packed_one)


def chunked(members: Members) -> Members:
    members = envelope('href="sage-home.vmdk"', 'chunkSize="512" ovf:href="sage-home.vmdk"')(
        members
    )
    disk = members.pop("sage-home.vmdk")
    pieces = {f"sage-home.vmdk.{n:09}": disk[n * 512 :][:512] for n in range(-(-len(disk) // 512))}
    return relisted({**members, **pieces})


def vmware(members: Members) -> Members:
    image = members["sage-home.vmdk"]
    made = {
        "lab.ovf": VMWARE.format(size=len(image), mebibytes=8).encode(),
        "lab-disk1.vmdk": image,
    }
    listed = relisted(made)
    return {"lab.ovf": made["lab.ovf"], "lab.mf": listed["sage.mf"], "lab-disk1.vmdk": image}


def then(*changes: Change) -> Change:
    def change(members: Members) -> Members:
        for each in changes:
            members = each(members)
        return members

    return change


def archived(form: int) -> Callable[[Members], bytes]:
    def pack(members: Members) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return out.getvalue()

    return pack


def cut(share: float) -> Callable[[Members], bytes]:
    def pack(members: Members) -> bytes:
        data = packed(members)
        return data[: int(len(data) * share)]

    return pack


def renamed(old: str, new: str) -> Change:
    def change(members: Members) -> Members:
        found = {n.replace(old, new): d for n, d in members.items() if n != "sage.mf"}
        found["sage.ovf"] = found["sage.ovf"].replace(old.encode(), new.encode())
        return relisted(found)

    return change


CASES = {
    # manifests as tools write them
    "ours": Case(),
    "VirtualBox 5, SHA1": Case(manifest("SHA1", "{} ({}) = {}\n")),
    "VirtualBox 7, SHA256": Case(manifest("SHA256", "{} ({}) = {}\n")),
    "VMware, SHA512": Case(manifest("SHA512")),
    "OpenSSL 3 and Home Assistant": Case(manifest("SHA256", told="SHA2-256")),
    "Oracle OLVM, SHA-256": Case(manifest("SHA256", told="SHA-256")),
    "Oracle OLVM, SHA-1": Case(manifest("SHA1", told="SHA-1")),
    "small letters": Case(manifest("SHA256", told="sha256")),
    "a tab": Case(manifest("SHA256", "{}({})=\t{}\n")),
    "spaces before =": Case(manifest("SHA256", "{} ({})  =  {}\n")),
    "a space at the end": Case(manifest("SHA256", "{}({})= {} \n")),
    "./ before names": Case(manifest("SHA256", "{}(./{})= {}\n")),
    "CRLF": Case(manifest("SHA256", "{}({})= {}\r\n")),
    "no last newline": Case(manifest_text(lambda text: text.rstrip(b"\n"))),
    "byte order mark": Case(manifest_text(lambda text: b"\xef\xbb\xbf" + text)),
    "capital digits": Case(
        manifest_text(lambda t: re.sub(rb"= (\w+)", lambda m: b"= " + m[1].upper(), t))
    ),
    "it lists itself": Case(
        manifest_text(lambda text: text + b"SHA256(sage.mf)= " + b"0" * 64 + b"\n")
    ),
    "GNS3: the envelope is unlisted": Case(unlisted("sage.ovf")),
    "a disk is unlisted": Case(unlisted("sage-home.vmdk")),
    "OpenStack, no manifest": Case(without("sage.mf")),
    "an empty manifest": Case(manifest_text(lambda _: b"")),
    "sha256sum's form": Case(manifest("SHA256", "{2}  {1}\n"), good=False),
    # VirtualBox takes a line that it cannot read for none; a file that broke off looks like this.
    "a digest cut off": Case(manifest_text(lambda text: text[:-9]), stricter=True),
    "a wrong digest": Case(
        manifest_text(
            lambda text: text[:-9] + (b"0" * 8 if text[-9:-1] != b"0" * 8 else b"1" * 8) + b"\n"
        ),
        good=False,
    ),
    # envelopes
    "VMware": Case(vmware),
    "libvirt: a VirtIO network": Case(envelope("SubType>E1000<", "SubType>virtio<")),
    "Proxmox: capacity in mebibytes": Case(
        envelope(
            'capacity="8388608" ovf:capacityAllocationUnits="byte"',
            'capacity="8" ovf:capacityAllocationUnits="byte * 2^20"',
        )
    ),
    "capacity by a property": Case(
        envelope('capacity="8388608"', 'capacity="${disk.size}"'), good=False
    ),
    "no sizes of files": Case(envelope(r' ovf:size="\d+"', "")),
    "it is no XML": Case(envelope("</Envelope>", "</Envelop>"), good=False),
    "a disk of no file": Case(envelope('ovf:fileRef="file2"', 'ovf:fileRef="file9"'), good=False),
    # disks
    "gzip": Case(compressed),
    "in chunks": Case(chunked, good=False),
    "a disk is missing": Case(then(without("sage-home.vmdk", "sage.mf")), good=False),
    "a flipped bit in a disk": Case(flipped("sage-root.vmdk", 0.5), good=False),
    "a flipped bit in the envelope": Case(flipped("sage.ovf", 0.5), good=False),
    "a disk that is none": Case(
        lambda members: relisted({**members, "sage-home.vmdk": b"no disk" * 100}), good=False
    ),
    # archives
    "GNU tar, a name of 118 characters": Case(
        renamed("sage-home", "x" * 113), pack=archived(tarfile.GNU_FORMAT)
    ),
    "pax headers": Case(
        renamed("sage-home", "Prüfung"), good=False, pack=archived(tarfile.PAX_FORMAT)
    ),
    "gzip of all": Case(good=False, pack=lambda members: gzip.compress(packed(members))),
    "a download that broke off": Case(good=False, pack=cut(0.7)),
    "cut off in the envelope": Case(good=False, pack=cut(0.001)),
}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """A good OVA of two disks, small enough to be imported forty times."""
    place = tmp_path_factory.mktemp("good")
    disks = []
    for name in ("root", "home"):
        raw = place / f"{name}.raw"
        raw.write_bytes(bytes(range(256)) * 256 * 3 + bytes((8 << 20) - 3 * 65536))
        disks.append(OvaDisk(name=name, raw_path=raw))
    machine = OvaAppliance(
        name="sage", product="p", version="1", epoch=1_700_000_000, cpus=1, memory=64 << 20
    )
    return unpacked(write_ova(place / "good.ova", machine, disks).path)


def imported(virtualbox: VBoxManage, ova: Path, place: Path) -> str:
    """Import it for real; what VirtualBox complained of, nothing when the VM is there."""
    name = f"verdict-{uuid.uuid4().hex[:8]}"
    try:
        virtualbox.run("import", str(ova), "--vsys=0", f"--vmname={name}", f"--basefolder={place}")
    except VBoxError as error:
        return str(error) or "refused"
    if name not in virtualbox.run("list", "vms"):
        return "nothing was imported"
    virtualbox.run("unregistervm", name, "--delete")
    return ""


@pytest.mark.parametrize("name", CASES)
def test_inspect_and_virtualbox_agree(
    virtualbox: VBoxManage, members: Members, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    ova = tmp_path / "x.ova"
    ova.write_bytes(case.pack(case.change(members)))
    told = imported(virtualbox, ova, tmp_path)
    try:
        with ova.open("rb") as stream:
            inspect(stream, ova.name, ova.stat().st_size)
        refused = ""
    except VerificationError as error:
        refused = str(error)
    expected = (case.good, case.good and not case.stricter)
    assert (not told, not refused) == expected, f"VirtualBox: {told}\nwe: {refused}"
    assert "Traceback" not in refused
