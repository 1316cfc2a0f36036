"""The same sessions on Kubernetes: an image and the values of the chart Zero to JupyterHub.

The image is the appliance's root file system; the hub and its proxy are the chart's own. The chart
has no word for limits of groups and students, nor for our rules of who may sign in: our own modules
go along, as files in the hub's pod.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from provision.config import Config
from provision.config.languages import kernel_of
from provision.errors import ApplianceError
from provision.export import elsewhere, oci
from provision.guest.hub import profiles
from provision.guest.pool.session import PATH

RULES = "/usr/local/etc/jupyterhub/appliance"
# Runs in the hub's pod, after the profile: what our rules say holds.
HOOK = f"""\
import json, sys
sys.path.append("{RULES}")
from entitlement import share_of
with open("{RULES}/shares.json") as file:
    APPLIANCE_SHARES = json.load(file)

def appliance_limits(spawner, pod):
    profile = (spawner.user_options or {{}}).get("profile") or ""
    share = share_of(spawner.user.name, profile, APPLIANCE_SHARES)
    resources = pod.spec.containers[0].resources
    memory, cpu = str(share.memory), str(share.cpu / 100)
    resources.limits = {{**(resources.limits or {{}}), "memory": memory, "cpu": cpu}}
    resources.requests = {{**(resources.requests or {{}}), "memory": memory}}
    return pod

c.KubeSpawner.modify_pod_hook = appliance_limits
"""
# The chart's image of the hub has the authenticators that ours are made of.
SIGN_IN_MODULES = (
    *("hub/claims.py", "hub/sign_in.py", "hub/silence.py"),
    *("pool/certificate.py", "pool/lockout.py", "pool/visits.py"),
)
SIGN_IN = f"""\
import json, sys
from pathlib import Path
sys.path.append("{RULES}")
from provision.guest.hub.sign_in import configure
with open("{RULES}/sign-in.json") as file:
    c.merge(configure(json.load(file), Path("{RULES}")))
"""


def export(
    config: Config, layers: Sequence[Path], target: Path, *, image: str, epoch: int
) -> dict[str, Any]:
    """Write ``image`` (an OCI layout) and ``values.yaml`` into a directory.

    Args:
        config: the appliance.
        layers: of its build, the lowest first.
        target: a directory, made if need be.
        image: the name under which a registry will have the image, without a tag.
        epoch: the image's date, in seconds since 1970.

    Returns:
        The chart's values.

    Raises:
        ApplianceError: there is an image already, or the build has no notebook.
    """
    user, uid, gid = _account(config, layers)
    home = f"/home/{user}"
    target.mkdir(parents=True, exist_ok=True)
    settings = {
        "User": f"{uid}:{gid}",
        "Env": [f"{key}={value}" for key, value in _environment(user, home).items()],
        "Cmd": [elsewhere.SERVER],
        "WorkingDir": home,
    }
    oci.write_layout(target / "image", layers, tag=config.version, epoch=epoch, settings=settings)
    kernels = oci.names_in(layers, elsewhere.KERNELS)
    told = values(config, image=image, account=(user, uid, gid), kernels=kernels)
    yaml = YAML()
    yaml.default_flow_style = False
    with (target / "values.yaml").open("w") as file:
        yaml.dump(told, file)
    return told


def values(
    config: Config, *, image: str, account: tuple[str, int, int], kernels: Sequence[str]
) -> dict[str, Any]:
    """The chart's values for an appliance.

    Args:
        config: the appliance.
        image: the name of its image in a registry.
        account: name, user's and group's number of who runs a session in the image.
        kernels: the names of the image's kernels, besides Python's.
    """
    user, uid, gid = account
    notebook, limits = config.notebook, config.pool.limits
    egress = {"nonPrivateIPs": notebook.network == "open", "privateIPs": False}
    return {
        "hub": _hub(config),
        "singleuser": {
            "image": {"name": image, "tag": config.version},
            "cmd": [elsewhere.SERVER],
            "uid": uid,
            "fsGid": gid,
            "extraEnv": _environment(user, f"/home/{user}"),
            "memory": {"limit": limits.memory, "guarantee": limits.memory},
            "cpu": {"limit": limits.cpu / 100},
            "storage": {
                "type": "dynamic",
                "homeMountPath": f"/home/{user}",
                # The chart wants a size; no quota of ours is a gigabyte of its.
                "capacity": f"{(limits.disk or 1 << 30) >> 20}Mi",
            },
            "networkPolicy": {"enabled": True, "egressAllowRules": egress},
            "profileList": [
                {
                    "display_name": profile.title,
                    "slug": name,
                    "default": number == 0,
                    "kubespawner_override": _override(profile, kernels),
                }
                for number, (name, profile) in enumerate(config.profiles.items())
            ],
        },
        "cull": {
            "enabled": bool(notebook.timeout or notebook.session_expiry),
            # The culler has no word for never but a long time.
            "timeout": notebook.timeout or 10 * 365 * 86400,
            "maxAge": notebook.session_expiry,
        },
    }


def _override(profile: Any, kernels: Sequence[str]) -> dict[str, Any]:
    limits = profile.limits
    told: dict[str, Any] = {}
    if limits.memory is not None:
        told |= {"mem_limit": limits.memory, "mem_guarantee": limits.memory}
    if limits.cpu is not None:
        told["cpu_limit"] = limits.cpu / 100
    if limits.disk is not None:
        told["storage_capacity"] = f"{limits.disk >> 20}Mi"
    if args := profiles.chosen_kernels([kernel_of(each) for each in profile.kernels], kernels):
        told["args"] = args
    return told


def _hub(config: Config) -> dict[str, Any]:
    """The hub's own part: our rules and their data as files, and what calls them."""
    texts = {
        "entitlement.py": elsewhere.source("pool/entitlement.py"),
        "shares.json": json.dumps(elsewhere.shares(config)),
    }
    calls = {"appliance-limits": HOOK}
    sign_in = config.sign_in.model_dump(mode="json", exclude_none=True)
    classes = {}
    if any(sign_in.get(kind) for kind in ("google", "oidc", "ldap")):
        calls["appliance-sign-in"] = SIGN_IN
        for module in SIGN_IN_MODULES:
            texts[f"provision/guest/{module}"] = elsewhere.source(module)
        texts["sign-in.json"] = json.dumps(sign_in)
    else:  # the appliance's own accounts stay there; the chart's default is whoever comes
        classes = {"JupyterHub": {"authenticator_class": "null"}}
    limit = config.notebook.max_sessions
    return {
        "config": classes,
        **({"activeServerLimit": limit} if limit else {}),
        "extraFiles": {
            Path(name).name.replace(".", "-"): {
                "mountPath": f"{RULES}/{name}",
                "stringData": text,
            }
            for name, text in texts.items()
        },
        "extraConfig": calls,
    }


def _environment(user: str, home: str) -> dict[str, str]:
    return {
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "PATH": PATH,
    }


def _account(config: Config, layers: Sequence[Path]) -> tuple[str, int, int]:
    """Who runs a session: the first account of the pool."""
    user = config.pool_accounts[0]
    if oci.lookup(layers, elsewhere.SERVER.lstrip("/")) and (
        file := oci.lookup(layers, "etc/passwd")
    ):
        for line in file.read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == user:
                return user, int(uid), int(gid)
    raise ApplianceError(f"the build has no notebook, or no account {user}")
