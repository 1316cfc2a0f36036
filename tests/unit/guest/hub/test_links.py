from provision.guest.hub.links import changed_names


def test_names_are_read_as_they_are() -> None:
    listed = 'A\0Übung.txt\0D\0a\tb "c".txt\0M\0x\0A\0two\nlines\0'
    assert changed_names(listed, "A") == ["Übung.txt", "two\nlines"]
    assert changed_names(listed, "D") == ['a\tb "c".txt']
    assert changed_names("", "A") == []
