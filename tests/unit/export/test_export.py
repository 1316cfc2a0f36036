"""Exports for other engines, as far as they need no build."""

import gzip
import hashlib
import json
import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from provision.config import Config, read
from provision.errors import ApplianceError
from provision.export import oci, slurm, zero_to_jupyterhub

SETTINGS = (
    "kernels={r: true}",
    "profiles={any: {title: Everything}, stats: {title: R, kernels: [r], limits: {memory: 2G}}}",
    "pool.groups={seniors: {members: [emmy], limits: {cpu: 200}}}",
    "pool.limits={memory: 1G, cpu: 150, disk: 2G}",
    "notebook.max_sessions=3",
    "notebook.session_expiry=90m",
)
# What the chart's schema (jupyterhub/values.schema.yaml of jupyterhub/zero-to-jupyterhub-k8s, at
# 02dd73df01bd) says of the keys that we use; it, too, refuses others. No package registry has the
# schema itself; helm validates against the chart's own before it renders anything.
NUMBER = {"type": ["number", "null"]}
BYTES = {"type": ["number", "string", "null"]}
TEXT = {"type": "string"}


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


CHART = closed(
    hub=closed(
        config={"type": "object"},
        activeServerLimit={"type": ["integer", "null"]},
        extraConfig={"type": "object"},
        extraFiles={
            "type": "object",
            "additionalProperties": closed(
                "mountPath", "stringData", mountPath=TEXT, stringData=TEXT
            ),
        },
    ),
    singleuser=closed(
        image=closed("name", "tag", name=TEXT, tag=TEXT),
        cmd={"type": ["array", "string", "null"]},
        uid={"type": ["integer", "null"]},
        fsGid={"type": ["integer", "null"]},
        extraEnv={"type": ["object", "array"]},
        memory=closed(limit=BYTES, guarantee=BYTES),
        cpu=closed(limit=NUMBER, guarantee=NUMBER),
        storage=closed(
            *("type", "homeMountPath"),
            type={"enum": ["dynamic", "static", "none"]},
            homeMountPath=TEXT,
            capacity=TEXT,
        ),
        networkPolicy=closed(
            enabled={"type": "boolean"},
            egressAllowRules=closed(
                nonPrivateIPs={"type": "boolean"}, privateIPs={"type": "boolean"}
            ),
        ),
        profileList={"type": "array"},
    ),
    cull=closed(
        "enabled",
        enabled={"type": "boolean"},
        timeout={"type": ["integer", "null"]},
        maxAge={"type": ["integer", "null"]},
    ),
)


def config(*assignments: str) -> Config:
    return read(assignments=assignments, environ={}).config


def told(*assignments: str) -> dict[str, Any]:
    account = ("nb1", 1001, 1002)
    return zero_to_jupyterhub.values(
        config(*assignments), image="reg.test/sage", account=account, kernels=["ir", "bash"]
    )


@pytest.mark.parametrize("assignments", [(), SETTINGS])
def test_values_are_of_the_charts_kind(assignments: tuple[str, ...]) -> None:
    jsonschema.validate(told(*assignments), CHART)


def test_values_have_the_same_limits_and_profiles() -> None:
    values = told(*SETTINGS)
    single = values["singleuser"]
    assert (single["memory"]["limit"], single["cpu"]["limit"]) == (1 << 30, 1.5)
    assert single["storage"]["capacity"] == "2048Mi"
    everything, stats = single["profileList"]
    assert everything["default"]
    assert stats["kubespawner_override"] == {
        "mem_limit": 2 << 30,
        "mem_guarantee": 2 << 30,
        "args": ["--KernelSpecManager.allowed_kernelspecs=ir"],
    }
    assert (values["hub"]["activeServerLimit"], values["cull"]["maxAge"]) == (3, 5400)


GOOGLE = "sign_in={google: {client_id: id, domains: [school.test]}, admins: [ada@school.test]}"
OIDC = "sign_in={oidc: {issuer: 'https://id.school.test', client_id: id, groups: [math]}}"
LDAP = "sign_in={ldap: {server: ldap.school.test, template: 'uid={username},dc=school'}}"


def test_nobody_signs_in_until_it_is_said_who() -> None:
    """The chart's own default lets everybody in, by any password."""
    hub = told()["hub"]
    assert hub["config"]["JupyterHub"]["authenticator_class"] == "null"
    assert "appliance-sign-in" not in hub["extraConfig"]


@pytest.mark.parametrize("assignment", [GOOGLE, OIDC, LDAP])
def test_the_schools_sign_in_goes_along(assignment: str) -> None:
    """In a hub: tests/integration/signin/test_providers.py."""
    values = told(assignment)
    jsonschema.validate(values, CHART)
    hub = values["hub"]
    assert "authenticator_class" not in str(hub["config"])
    assert "appliance-sign-in" in hub["extraConfig"]
    wanted = config(assignment).sign_in.model_dump(mode="json", exclude_none=True)
    assert json.loads(hub["extraFiles"]["sign-in-json"]["stringData"]) == wanted
    places = {file["mountPath"] for file in hub["extraFiles"].values()}
    rules = zero_to_jupyterhub.RULES
    assert f"{rules}/provision/guest/hub/sign_in.py" in places
    assert f"{rules}/provision/guest/pool/certificate.py" in places


def test_slurm_is_told_the_same(tmp_path: Path) -> None:
    found = slurm.export(config(*SETTINGS), tmp_path / "out", server="/opt/x/jupyterhub-singleuser")
    assert found["shares"]["default"] == {"memory": 1 << 30, "cpu": 150, "disk": 2 << 30}
    assert found["wrapper"] == "/opt/x/batchspawner-singleuser"
    assert (found["runtime"], found["max_sessions"]) == ("90", 3)
    assert json.loads((tmp_path / "out/appliance.json").read_text()) == found
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        *("jupyterhub_config.py", "appliance.json", "entitlement.py", "profiles.py"),
    }
    assert slurm.export(config("notebook.session_expiry=0"), tmp_path)["runtime"] == ""


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    low, high = tmp_path / "low", tmp_path / "high"
    (low / "etc").mkdir(parents=True)
    (low / "etc/passwd").write_text("nb1:x:1001:1002::/home/nb1:/bin/bash\n")
    (low / "etc/link").symlink_to("passwd")
    os.link(low / "etc/passwd", low / "etc/twin")
    (low / "etc/tool").write_text("#!/bin/sh\n")
    (low / "etc/tool").chmod(0o4755)
    (high / "etc").mkdir(parents=True)
    (high / "etc/ä" / ("n" * 120)).mkdir(parents=True)
    for path in [*low.rglob("*"), *high.rglob("*")]:
        os.utime(path, (1000, 1000), follow_symlinks=False)
    return [low, high]


def contents(layout: Path) -> list[dict[str, tarfile.TarInfo]]:
    """Each layer's members, by the layout's own references; digests are compared on the way."""

    def blob(reference: dict[str, Any]) -> bytes:
        data = (layout / "blobs" / reference["digest"].replace(":", "/")).read_bytes()
        assert len(data) == reference["size"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == reference["digest"]
        return data

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]))
    settings = json.loads(blob(manifest["config"]))
    found = []
    for layer, diff in zip(manifest["layers"], settings["rootfs"]["diff_ids"], strict=True):
        data = gzip.decompress(blob(layer))
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == diff
        with tarfile.open(fileobj=BytesIO(data)) as tar:
            found.append({member.name: member for member in tar})
    return found


def test_an_image_has_the_layers_of_the_build(layers: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        oci.write_layout(tmp_path / name, layers, tag="1.0", epoch=1000, settings={"User": "1:1"})
    low, high = contents(tmp_path / "a")
    assert set(low) == {"etc", "etc/link", "etc/passwd", "etc/tool", "etc/twin"}
    assert low["etc/link"].linkname == "passwd"
    assert (low["etc/twin"].type, low["etc/twin"].linkname) == (tarfile.LNKTYPE, "etc/passwd")
    assert low["etc/tool"].mode == 0o4755
    assert f"etc/ä/{'n' * 120}" in high
    written = [
        {path.name: path.read_bytes() for path in (tmp_path / each).rglob("*") if path.is_file()}
        for each in "ab"
    ]
    assert written[0] == written[1]
    with pytest.raises(ApplianceError, match="there already"):
        oci.write_layout(tmp_path / "a", layers, tag="1.0", epoch=1000, settings={})


def test_the_whole_tree_is_looked_up_from_above(layers: list[Path]) -> None:
    low, high = layers
    assert oci.lookup(layers, "etc/passwd") == low / "etc/passwd"
    (high / "etc/passwd").write_text("")
    assert oci.lookup(layers, "etc/passwd") == high / "etc/passwd"
    assert oci.lookup(layers, "etc/nothing") is None
    assert oci.names_in(layers, "etc") == ["link", "passwd", "tool", "twin", "ä"]


def test_a_build_without_a_notebook_is_none(layers: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no notebook"):
        zero_to_jupyterhub.export(config(), layers, tmp_path / "x", image="a", epoch=1)


def test_the_export_is_an_image_and_values(layers: list[Path], tmp_path: Path) -> None:
    for name in ("opt/notebook/bin/jupyterhub-singleuser", "usr/local/share/jupyter/kernels/ir"):
        (layers[1] / name).parent.mkdir(parents=True)
        (layers[1] / name).touch()
    target = tmp_path / "new" / "place"
    told = zero_to_jupyterhub.export(
        config(*SETTINGS), layers, target, image="reg.test/sage", epoch=1000
    )
    assert YAML(typ="safe", pure=True).load((target / "values.yaml").read_text()) == told
    jsonschema.validate(told, CHART)
    single = told["singleuser"]
    assert (single["uid"], single["fsGid"]) == (1001, 1002)
    args = single["profileList"][1]["kubespawner_override"]["args"]
    assert args == ["--KernelSpecManager.allowed_kernelspecs=ir"]
    assert "etc/passwd" in contents(target / "image")[0]
    index = json.loads((target / "image/index.json").read_text())
    names = [each["annotations"] for each in index["manifests"]]
    assert names == [{"org.opencontainers.image.ref.name": "1.0"}]
