"""An image of real overlay layers, unpacked by another tool: the same tree."""

import os
import shutil
import subprocess
from pathlib import Path

from trees import tree

from provision.export import oci
from provision.jeos.layers import merging
from provision.process import require


def test_what_a_layer_removes_and_replaces_is_so_in_the_image(tmp_path: Path) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    (low / "etc/old").mkdir(parents=True)
    (low / "etc/kept").write_text("kept\n")
    (low / "etc/gone").write_text("gone\n")
    (low / "etc/old/inside").write_text("inside\n")
    (low / "bin").mkdir()
    (low / "bin/tool").write_text("#!/bin/sh\n")
    (low / "bin/tool").chmod(0o2755)
    os.chown(low / "bin/tool", 4711, 42)
    os.link(low / "bin/tool", low / "bin/other")
    # cap_net_raw, as ping has it, in the kernel's second format
    power = bytes.fromhex("0100000200200000" + "00" * 12)
    os.setxattr(low / "bin/tool", "security.capability", power)
    with merging([low], high) as root:
        (root / "etc/gone").unlink()
        shutil.rmtree(root / "etc/old")
        (root / "etc/old").mkdir()  # opaque: nothing of the one below
        (root / "etc/old/fresh").write_text("fresh\n")
        (root / "etc/link").symlink_to("kept")
        (root / "etc/ä ö").write_text("x")
        shutil.copytree(root / "bin", root / "copied", symlinks=True)
        os.mkfifo(root / "etc/pipe")
        ours = tree(root)
    oci.write_layout(tmp_path / "image", [low, high], tag="1.0", epoch=0, settings={"User": "1"})
    umoci, skopeo = require("umoci", "umoci"), require("skopeo", "skopeo")
    image = tmp_path / "image"
    for words in (
        [umoci, "unpack", "--image", f"{image}:1.0", str(tmp_path / "bundle")],
        [skopeo, "--insecure-policy", "copy", f"oci:{image}:1.0", f"dir:{tmp_path / 'copy'}"],
    ):
        subprocess.run(words, check=True, capture_output=True)
    theirs = tree(tmp_path / "bundle/rootfs")
    assert theirs == ours
    assert oci.names_in([low, high], "etc") == ["kept", "link", "old", "pipe", "ä ö"]
    assert oci.names_in([low, high], "etc/old") == ["fresh"]
    assert oci.lookup([low, high], "etc/gone") is None
