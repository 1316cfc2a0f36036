"""Reading what VBoxManage prints; the samples are from VirtualBox 7.2.22."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbox import parse, snapshot

LISTING = (
    'name="we\\"ird\nna\'me \\\\ ünï"\n'
    "memory=1024\n"
    'uartmode1="file,/tmp/se"rial.log"\n'
    " rec_screen0\n"
    'rec_screen_opts="ac_profile=med"\n'
    '"S \\"A-0-0"="/disk.vdi"\n'
    'description="one\nt\\"wo\\\\\nx=y"\n'
    'nic1="nat"\n'
    'Forwarding(0)="ssh,tcp,127.0.0.1,2222,,22"\n'
    'nic2="nat"\n'
    'Forwarding(0)="b,udp,,53,10.0.2.9,53"\n'
)


def test_a_listing_with_every_oddity() -> None:
    assert list(parse.pairs(LISTING)) == [
        ("name", "we\"ird\nna'me \\ ünï"),
        ("memory", "1024"),
        ("uartmode1", 'file,/tmp/se"rial.log'),
        ("rec_screen_opts", "ac_profile=med"),
        ('S "A-0-0', "/disk.vdi"),
        ("description", 'one\nt"wo\\\nx=y'),
        ("nic1", "nat"),
        ("Forwarding(0)", "ssh,tcp,127.0.0.1,2222,,22"),
        ("nic2", "nat"),
        ("Forwarding(0)", "b,udp,,53,10.0.2.9,53"),
    ]


@given(st.lists(st.text(), max_size=5))
def test_whatever_is_escaped_is_read_back(values: list[str]) -> None:
    escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    text = "".join(f'key{n}="{value}"\n' for n, value in enumerate(escaped))
    assert [value for _, value in parse.pairs(text)] == values


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    list(parse.pairs(text))
    parse.machines(text)
    parse.fields(text)
    parse.extradata(text)
    snapshot.read(text)


def test_names_in_list_vms_are_not_escaped() -> None:
    first, second = "ad41585c-7f69-48d1-a3fb-9f92c611bf4c", "c68a49d8-69cc-446e-99f1-82fe4bd9dcac"
    text = f'"we"ird\nna\'me \\ ünï" {{{first}}}\n"plain" {{{second}}}\n'
    assert parse.machines(text) == (("we\"ird\nna'me \\ ünï", first), ("plain", second))
    assert parse.machines("") == ()


def test_extradata() -> None:
    text = "Key: a/b, Value: 1\nKey: weird, Value: x\ny, Value: z\n"
    assert parse.extradata(text) == {"a/b": "1", "weird": "x\ny, Value: z"}


def test_fields_of_a_medium() -> None:
    text = "UUID:      1c74\nCapacity:  10 MBytes\nIn use by VMs:  a (UUID: 1)\n b (UUID: 2)\n"
    assert parse.fields(text) == {
        "UUID": "1c74",
        "Capacity": "10 MBytes",
        "In use by VMs": "a (UUID: 1)\nb (UUID: 2)",
    }


@pytest.mark.parametrize("name", ["plain", 'q "x\\ y', 'be"\nfore'])
def test_snapshots_are_not_escaped_either(name: str) -> None:
    a, b = "0fdf9dfe-97a2-4964-9535-055f223dd01f", "e8e09b1f-a55e-43b8-93a5-e994c1b073b5"
    text = (
        f'SnapshotName="{name}"\nSnapshotUUID="{a}"\nSnapshotDescription="multi\nline"\n'
        f'SnapshotName-1="second"\nSnapshotUUID-1="{b}"\n'
        f'CurrentSnapshotName="second"\nCurrentSnapshotUUID="{b}"\n'
        'CurrentSnapshotNode="SnapshotName-1"\n'
    )
    assert snapshot.read(text) == (
        snapshot.Snapshot(a, name, 0, False),
        snapshot.Snapshot(b, "second", 1, True),
    )
