"""What a loader says, and what Debian calls the package of a library."""

import pytest

from provision.guest.jail.libraries import candidates, names


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libstdc++.so.6", "libstdc++6"),
        ("libgcc_s.so.1", "libgcc-s1"),
        ("libgomp.so.1", "libgomp1"),
        ("libX11.so.6", "libx11-6"),
        ("libglib-2.0.so.0", "libglib2.0-0t64"),
        ("libpython3.13.so.1.0", "libpython3.13"),
        ("libxml2.so.16", "libxml2-16"),
    ],
)
def test_packages_are_called_after_what_is_linked_to(library: str, package: str) -> None:
    assert package in candidates(library)


def test_what_is_missing_is_read_from_the_loaders_words() -> None:
    lacks = {
        "/static/a.so": ["libstdc++.so.6 => not found", "libgcc_s.so.1 => not found"],
        "/static/b.so": ["b.so: error while loading shared libraries: libx.so.1: cannot open shared"
                         " object file: No such file or directory"],
        "/static/c.so": ["/lib/libc.so.6: version `GLIBC_9.9' not found (required by c.so)"],
    }  # fmt: skip
    assert names(lacks) == ["libgcc_s.so.1", "libstdc++.so.6", "libx.so.1"]
