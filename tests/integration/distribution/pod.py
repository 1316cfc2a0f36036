"""Reads a chart's values as the chart's hub does, and tells what KubeSpawner makes of them.

Run by a Python that has jupyterhub-kubespawner: VALUES (JSON), a directory for the hub's files,
a student, a profile. It prints the pod.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

# Of a cluster that nobody asks.
NOWHERE = {
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "users": [{"name": "none", "user": {}}],
    "current-context": "none",
}
values, files, student, profile = json.loads(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
os.environ["KUBECONFIG"] = str(files / "kubeconfig")
(files / "kubeconfig").write_text(json.dumps(NOWHERE))

from kubespawner import KubeSpawner  # noqa: E402 - it reads the cluster's file as it is imported
from traitlets.config import Config  # noqa: E402

single = values["singleuser"]
c = Config()
# As in the chart's files/hub/jupyterhub_config.py.
c.KubeSpawner.image = f"{single['image']['name']}:{single['image']['tag']}"
c.KubeSpawner.cmd = single["cmd"]
c.KubeSpawner.uid, c.KubeSpawner.fs_gid = single["uid"], single["fsGid"]
c.KubeSpawner.environment = single["extraEnv"]
c.KubeSpawner.mem_limit = single["memory"]["limit"]
c.KubeSpawner.mem_guarantee = single["memory"]["guarantee"]
c.KubeSpawner.cpu_limit = single["cpu"]["limit"]
c.KubeSpawner.profile_list = single["profileList"]
for file in values["hub"]["extraFiles"].values():
    (files / Path(file["mountPath"]).name).write_text(file["stringData"])
for text in values["hub"]["extraConfig"].values():
    exec(text.replace("/usr/local/etc/jupyterhub/appliance", str(files)))  # noqa: S102


class Server:
    base_url = "/"


class User:
    name = escaped_name = student
    id, url, server, settings, groups, admin = 1, "/", Server(), {}, (), False


class Hub:
    public_host = base_url = url = api_url = "http://hub"
    server = Server()


async def main() -> None:
    spawner = KubeSpawner(hub=Hub(), user=User(), config=c, _mock=True)
    spawner.user_options = {"profile": profile} if profile else {}
    await spawner.load_user_options()
    pod = await spawner.get_pod_manifest()
    pod = spawner.modify_pod_hook(spawner, pod)
    container = pod.spec.containers[0]
    print(  # noqa: T201 - its result
        json.dumps(
            {
                "image": container.image,
                "command": [*(container.command or ()), *(container.args or ())],
                "limits": container.resources.limits,
                "requests": container.resources.requests,
                "security": container.security_context,
            }
        )
    )


asyncio.run(main())
