"""Whatever happened to an OVA on its way, the verifier says what and where."""

import contextlib
import gzip
import hashlib
import importlib
import io
import random
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from provision.errors import VerificationError
from provision.ova import Inspection, inspect

Members = dict[str, bytes]


def read(data: bytes) -> Inspection:
    return inspect(io.BytesIO(data), "x.ova", len(data))


def unpacked(ova: Path) -> Members:
    with tarfile.open(ova) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


def packed(members: Mapping[str, bytes], change: Callable[[tarfile.TarInfo], None] = id) -> bytes:  # type: ignore[assignment]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            change(info)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def relisted(members: Members, algorithm: str = "SHA256", form: str = "{}({})= {}\n") -> Members:
    """Make the manifest anew, so that only what a test broke is broken."""
    lines = [
        form.format(algorithm, name, hashlib.new(algorithm, data).hexdigest())
        for name, data in members.items()
        if not name.endswith((".mf", ".cert"))
    ]
    return {**members, "sage.mf": "".join(lines).encode()}


def test_the_whole_file_is_accepted(ova: Path) -> None:
    found = read(ova.read_bytes())
    assert list(found.members) == ["sage.ovf", "sage.mf", "sage-root.vmdk", "sage-home.vmdk"]
    assert found.disks[0].stored == 6 * 65536


def test_the_stream_is_never_sought(ova: Path) -> None:
    class Pipe(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError("a pipe")

        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 10_000))

    assert inspect(Pipe(ova.read_bytes()), "pipe").manifest == "SHA256"


def test_one_flipped_bit_anywhere_is_found(ova: Path) -> None:
    data = bytearray(ova.read_bytes())
    whole = read(bytes(data))
    chance = random.Random(7)  # noqa: S311 (places to damage)
    front = list(range(0, 9216, 3))  # envelope, manifest and their headers
    places = front + chance.sample(range(9216, len(data)), 400)
    for place in places:
        bit = 1 << chance.randrange(8)
        data[place] ^= bit
        with contextlib.suppress(VerificationError):
            # In a manifest, small letters mean what capitals do.
            assert read(bytes(data)) == whole, place
        data[place] ^= bit
    assert read(bytes(data)) == whole


def test_every_bit_of_a_tar_header_counts(ova: Path) -> None:
    data = bytearray(ova.read_bytes())
    for bit in range(8 * 512):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            read(bytes(data))
        data[bit // 8] ^= 1 << bit % 8


def test_truncation_anywhere_is_found(ova: Path) -> None:
    data = ova.read_bytes()
    chance = random.Random(7)  # noqa: S311 (places to cut)
    cuts = [*range(0, 9216, 64), *chance.sample(range(len(data) - 1024), 200), len(data) - 1]
    for size in cuts:
        with pytest.raises(VerificationError):
            read(data[:size])


def test_an_archive_without_its_end_is_whole_as_virtualbox_writes_it(ova: Path) -> None:
    assert read(ova.read_bytes()[:-1024]).manifest == "SHA256"


@pytest.mark.parametrize("form", ["{} ({}) = {}\n", "{}({})= {}\r\n", "{} ({})= {}\n"])
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_manifests_of_every_maker_at_the_front_or_at_the_end(
    ova: Path, algorithm: str, form: str
) -> None:
    members = relisted(unpacked(ova), algorithm, form)
    assert read(packed(members)).manifest == algorithm
    manifest = members.pop("sage.mf")
    last = {**members, "sage.mf": manifest}
    assert read(packed(last)).manifest == algorithm
    last["sage-home.vmdk"] += bytes(512)
    with pytest.raises(VerificationError, match=r"sage-home.vmdk (has|is damaged)"):
        read(packed(last))


MANIFEST_FORMS = {
    "OpenSSL 3": ("SHA2-256", "{}({})= {}\n", "sha256"),
    "Oracle, SHA-256": ("SHA-256", "{}({})= {}\n", "sha256"),
    "Oracle, SHA-1": ("SHA-1", "{}({})= {}\n", "sha1"),
    "small letters": ("sha256", "{}({})= {}\n", "sha256"),
    "SHA384": ("SHA384", "{}({})= {}\n", "sha384"),
    "SHA2-512": ("SHA2-512", "{}({})= {}\n", "sha512"),
    "two spaces": ("SHA256", "{}({})=  {}\n", "sha256"),
    "tab": ("SHA256", "{}({})=\t{}\n", "sha256"),
    "spaces all over": ("SHA256", "{}  ( {} )  =  {} \r\n", "sha256"),
    "./ before the name": ("SHA256", "{}(./{})= {}\n", "sha256"),
}


@pytest.mark.parametrize("maker", MANIFEST_FORMS)
def test_manifests_as_other_tools_write_them(ova: Path, maker: str) -> None:
    told, form, name = MANIFEST_FORMS[maker]
    members = {n: d for n, d in unpacked(ova).items() if n != "sage.mf"}

    def listed(digest: Callable[[bytes], str]) -> bytes:
        lines = [form.format(told, n, digest(d)) for n, d in members.items()]
        return packed({**members, "sage.mf": "".join(lines).encode()})

    found = read(listed(lambda data: hashlib.new(name, data).hexdigest()))
    assert (found.manifest, found.uncovered) == (name.upper(), ())
    with pytest.raises(VerificationError, match="damaged or was changed"):
        read(listed(lambda data: hashlib.new(name, data + b"x").hexdigest()))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip(b"\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"SHA256(sage.mf)= " + b"0" * 64 + b"\n",
        lambda text: text.replace(b"= a", b"= A"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\n" + text + b"\n\n",
    ],
    ids=["no last newline", "BOM", "lists itself", "mixed case", "CRLF", "empty lines"],
)
def test_a_whole_manifest_in_another_form_is_whole(
    ova: Path, change: Callable[[bytes], bytes]
) -> None:
    members = unpacked(ova)
    members["sage.mf"] = change(members["sage.mf"])
    found = read(packed(members))
    assert (found.manifest, found.uncovered) == ("SHA256", ())


def test_a_digest_that_was_cut_off_is_none(ova: Path) -> None:
    members = unpacked(ova)
    members["sage.mf"] = members["sage.mf"][:-5]
    with pytest.raises(VerificationError, match="not a digest") as refused:
        read(packed(members))
    assert "again" in (refused.value.hint or "")


@pytest.mark.parametrize("left_out", ["sage.ovf", "sage-home.vmdk"])
def test_what_a_manifest_does_not_list_is_told_not_refused(ova: Path, left_out: str) -> None:
    members = unpacked(ova)
    lines = members["sage.mf"].splitlines(keepends=True)
    members["sage.mf"] = b"".join(line for line in lines if left_out.encode() not in line)
    assert read(packed(members)).uncovered == (left_out,)
    other = "sage-root.vmdk"
    members[other] = members[other][:-1] + b"x"
    with pytest.raises(VerificationError, match=other):
        read(packed(members))


def test_a_manifest_of_nothing_vouches_for_nothing(ova: Path) -> None:
    found = read(packed({**unpacked(ova), "sage.mf": b""}))
    assert len(found.uncovered) == 3


def renamed(members: Members, old: str, new: str) -> Members:
    """Another name of a disk, in the envelope too; without a manifest."""
    changed = {n.replace(old, new): d for n, d in members.items() if n != "sage.mf"}
    changed["sage.ovf"] = changed["sage.ovf"].replace(old.encode(), new.encode())
    return changed


def archived(members: Members, form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("length", [100, 101, 180, 300])
def test_long_names_as_gnu_tar_writes_them(ova: Path, length: int) -> None:
    members = renamed(unpacked(ova), "sage-home", "x" * (length - 5))
    found = read(archived(members, tarfile.GNU_FORMAT))
    assert any(len(name) == length for name in found.members)


def test_a_pax_archive_is_called_one(ova: Path) -> None:
    members = renamed(unpacked(ova), "sage-home", "Prüfung")
    with pytest.raises(VerificationError, match="pax archive") as refused:
        read(archived(members, tarfile.PAX_FORMAT))
    assert "--format=ustar" in (refused.value.hint or "")


@pytest.mark.parametrize("module", ["gzip", "bz2", "lzma"])
def test_a_compressed_ova_is_called_so(ova: Path, module: str) -> None:
    data = importlib.import_module(module).compress(ova.read_bytes())
    with pytest.raises(VerificationError, match="compressed by") as refused:
        read(data)
    assert "unpack" in (refused.value.hint or "")


def test_a_member_that_is_compressed_is_checked_by_its_digest(ova: Path) -> None:
    change = in_envelope('href="sage-home.vmdk"', 'compression="gzip" ovf:href="sage-home.vmdk"')
    members = change(unpacked(ova))
    members["sage-home.vmdk"] = gzip.compress(members["sage-home.vmdk"])
    text = members["sage.ovf"].decode()
    size = str(len(members["sage-home.vmdk"]))
    text = re.sub(r'(sage-home.vmdk"[^>]*ovf:size=")\d+', rf"\g<1>{size}", text)
    members["sage.ovf"] = text.encode()
    found = read(packed(relisted(members)))
    assert [disk.stored is None for disk in found.disks] == [False, True]


def test_chunks_are_called_so(ova: Path) -> None:
    members = in_envelope('href="sage-home.vmdk"', 'chunkSize="512" ovf:href="sage-home.vmdk"')(
        unpacked(ova)
    )
    disk = members.pop("sage-home.vmdk")
    pieces = {f"sage-home.vmdk.{n:09}": disk[n * 512 :][:512] for n in range(len(disk) // 512)}
    with pytest.raises(VerificationError, match="in chunks, which VirtualBox cannot import"):
        read(packed(relisted({**members, **pieces})))


def test_a_sparse_vmdk_that_says_so_is_checked_by_its_digest(ova: Path) -> None:
    members = in_envelope("#streamOptimized", "#sparse")(unpacked(ova))
    assert all(disk.stored is None for disk in read(packed(relisted(members))).disks)


def test_a_capacity_that_is_a_property_is_named(ova: Path) -> None:
    change = in_envelope('capacity="1048576"', 'capacity="${disk.size}"')
    with pytest.raises(VerificationError, match=r"capacity of disk \S+ is '\$\{disk.size\}'"):
        read(packed(change(unpacked(ova))))


def test_an_envelope_of_the_drafts_before_ovf_1(ova: Path) -> None:
    def old(text: str) -> str:
        space = "http://www.vmware.com/schema/ovf/1/envelope"
        text = text.replace("http://schemas.dmtf.org/ovf/envelope/1", space)
        text = text.replace(
            "<Envelope", '<Envelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        )
        for name in ("DiskSection", "NetworkSection", "VirtualHardwareSection", "ProductSection"):
            text = text.replace(f"<{name}", f'<Section xsi:type="ovf:{name}_Type"')
            text = text.replace(f"</{name}>", "</Section>")
        text = text.replace("<VirtualSystem ", '<Content xsi:type="ovf:VirtualSystem_Type" ')
        return text.replace("</VirtualSystem>", "</Content>")

    members = unpacked(ova)
    now = read(packed(members))
    members["sage.ovf"] = old(members["sage.ovf"].decode()).encode()
    then = read(packed(relisted(members)))
    assert then.envelope.version == "0"
    assert then.disks == now.disks
    assert then.envelope.systems[0].cpus == now.envelope.systems[0].cpus


def test_a_wrong_digest_names_the_file_and_both_digests(ova: Path) -> None:
    members = unpacked(ova)
    members["sage.mf"] = members["sage.mf"].replace(b"(sage-home.vmdk)= ", b"(sage-home.vmdk)= 0")
    members["sage.mf"] = members["sage.mf"][:-2] + b"\n"
    with pytest.raises(
        VerificationError, match=r"sage-home.vmdk is damaged .* SHA256 is \w+, sage.mf says 0"
    ):
        read(packed(members))


def drop(name: str) -> Callable[[Members], Members]:
    return lambda members: {k: v for k, v in members.items() if k != name}


def add(name: str, data: bytes) -> Callable[[Members], Members]:
    return lambda members: {**members, name: data}


def in_envelope(old: str, new: str) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        assert old.encode() in members["sage.ovf"], old
        text = members["sage.ovf"].replace(old.encode(), new.encode())
        return relisted({**members, "sage.ovf": text})

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (drop("sage-home.vmdk"), r"sage-home.vmdk is missing"),
        (drop("sage.ovf"), r"first member is no .ovf: sage.mf"),
        (add("extra.sh", b"#!"), r"does not know extra.sh"),
        (add("SAGE-home.vmdk", b""), r"holds SAGE-home.vmdk twice"),
        (add("../../etc/cron.d/x", b""), r"'../../etc/cron.d/x' is no plain file name"),
        (add("/etc/passwd", b""), r"'/etc/passwd' is no plain file name"),
        (add("a\\b", b""), r"no plain file name"),
        (add("c:x", b""), r"no plain file name"),
        (add("..", b""), r"no plain file name"),
        (add("a\x1b[2J", b""), r"no plain file name"),
        (add("x.mf", b""), r"x.mf is a second one"),
        (add("sage.cert", b"none"), r"no signature of sage.mf"),
        (add("sage.mf", b"MD5(sage.ovf)= 00\n"), r"sage.mf, line 1: not a digest"),
        (in_envelope('ovf:size="', 'ovf:size="9'), r"has \d+ bytes, the envelope says 9"),
        (in_envelope('capacity="1048576"', 'capacity="2097152"'), r"a disk of 1048576 bytes"),
        (in_envelope("</Envelope>", ""), r"not well-formed XML"),
        (in_envelope('href="sage-home', 'href="other'), r"other.vmdk is missing"),
        (in_envelope("fileRef=\"file2", "fileRef=\"file7"), r"sage.ovf: 'file7'"),
        (in_envelope("byte * 2^20", "stone"), r"unknown unit 'stone'"),
        (in_envelope("<Envelope", "<!DOCTYPE x><Envelope"), r"document type has no place"),
        (in_envelope("ovf/envelope/1", "ovf/envelope/7"), r"no OVF envelope"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_refused(
    ova: Path, change: Callable[[Members], Members], problem: str
) -> None:
    with pytest.raises(VerificationError, match=problem):
        read(packed(change(unpacked(ova))))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_anything_but_an_ordinary_file_is_refused(ova: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        if info.name == "sage-home.vmdk":
            info.type, info.linkname = kind, "/etc/passwd"

    with pytest.raises(VerificationError, match="is no ordinary file"):
        read(packed(unpacked(ova), change))


def test_entities_are_no_bomb(ova: Path) -> None:
    bomb = '<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
    change = in_envelope("<Envelope", bomb + "<Envelope")
    with pytest.raises(VerificationError, match="document type"):
        read(packed(change(unpacked(ova))))


@pytest.mark.parametrize("data", [b"", b"\0" * 1024, b"PK\3\4" * 500, b"x"])
def test_no_ova_at_all_is_said_so(data: bytes) -> None:
    with pytest.raises(VerificationError, match=r"empty|no OVA|truncated"):
        read(data)


def test_paths_and_addresses_of_the_maker_are_told(ova: Path) -> None:
    change = in_envelope(
        '<Adapter slot="0"',
        '<UART><Port path="/home/alice/serial.log"/></UART>'
        '<SharedFolder hostPath="C:\\Users\\alice"/><Adapter MACAddress="080027ABCDEF" slot="0"',
    )
    found = read(packed(change(unpacked(ova))))
    assert {(leak.kind, leak.where, leak.value) for leak in found.leaks} == {
        ("path", "Port path", "/home/alice/serial.log"),
        ("path", "SharedFolder hostPath", "C:\\Users\\alice"),
        ("mac", "Adapter MACAddress", "080027ABCDEF"),
    }


def test_names_and_words_that_look_like_paths_are_none(ova: Path) -> None:
    change = in_envelope(
        '<Adapter slot="0"',
        '<GuestProperty name="/VirtualBox/GuestInfo/OS/Product" value="Linux"/>'
        '<Groups><Group name="/classroom/2026"/></Groups><Description>/ is a slash</Description>'
        '<GuestProperty name="/x" value="/home/alice/disk"/><Adapter slot="0"',
    )
    found = read(packed(change(unpacked(ova))))
    told = {(leak.kind, leak.where, leak.value) for leak in found.leaks}
    assert told == {("path", "GuestProperty value", "/home/alice/disk")}


VMWARE = """<?xml version="1.0" encoding="UTF-8"?>
<!--Generated by VMware ovftool 4.6.3 (build-24031167), UTC time: 2025-01-01T00:00:00.000000Z-->
<Envelope vmw:buildId="build-24031167" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="lab-disk1.vmdk" ovf:id="file1" ovf:size="{size}"/></References>
  <DiskSection>
    <Info>Virtual disk information</Info>
    <Disk ovf:capacity="{mebibytes}" ovf:capacityAllocationUnits="byte * 2^20"
     ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:populatedSize="65536"
     ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <VirtualSystem ovf:id="lab">
    <Info>A virtual machine</Info>
    <Name>Lab</Name>
    <OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"><Info>The OS</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware requirements</Info>
      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType></System>
      <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
        <rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>4</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
      <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
        <rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item ovf:required="false"><rasd:Connection>bridged</rasd:Connection>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType></Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


@pytest.mark.parametrize("signed", [False, True])
def test_vmwares_form_is_read_with_its_certificate(
    ova: Path, certify: Callable[[str, bytes], bytes], signed: bool
) -> None:
    image = unpacked(ova)["sage-home.vmdk"]
    members = {
        "lab.ovf": VMWARE.format(size=len(image), mebibytes=1).encode(),
        "lab.mf": b"",
        "lab.cert": b"",
        "lab-disk1.vmdk": image,
    }
    members["lab.mf"] = relisted({k: members[k] for k in ("lab.ovf", "lab-disk1.vmdk")})["sage.mf"]
    members["lab.cert"] = certify("lab.mf", members["lab.mf"])
    if not signed:
        del members["lab.cert"]
    found = read(packed(members))
    (system,) = found.envelope.systems
    assert (system.name, system.cpus, system.memory) == ("Lab", 4, 2 * 2**30)
    assert system.controllers == ("SCSI VirtualSCSI",)
    assert system.networks == ("bridged VmxNet3",)
    assert [(disk.file, disk.capacity) for disk in found.disks] == [("lab-disk1.vmdk", 2**20)]
    assert found.signer == ("CN=Publisher" if signed else None)
    if signed:
        members["lab.mf"] = members["lab.mf"].replace(b"= ", b" = ")
        with pytest.raises(VerificationError, match=r"signature of lab.mf is wrong"):
            read(packed(members))


def test_an_ova_of_two_machines_is_read(ova: Path) -> None:
    members = unpacked(ova)
    text = members["sage.ovf"].decode()
    system = text[text.index("  <VirtualSystem ") : text.index("</Envelope>")]
    second = system.replace("<Name>sage", "<Name>other")
    change = in_envelope("</Envelope>", second + "</Envelope>")
    found = read(packed(change(members)))
    assert [system.name for system in found.envelope.systems] == ["sage", "other"]


@pytest.mark.parametrize("size", [b"-0000000017\0", b"\xff" * 12, b"\xff" * 11 + b"\x01"])
def test_a_negative_size_reads_nothing(ova: Path, size: bytes) -> None:
    """It would have been read whole, at once: of a pipe, or of a file larger than the memory."""

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None and size >= 0, "all of it is asked for"
            return super().read(size)

    block = bytearray(ova.read_bytes()[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    with pytest.raises(VerificationError, match="negative size"):
        inspect(Endless(bytes(block) + ova.read_bytes()[512:]), "x.ova", 1 << 20)
