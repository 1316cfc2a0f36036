"""The hub's configuration for a cluster with Slurm; written by ``appliance export slurm``.

Sessions are jobs of batchspawner's SlurmSpawner, with the profiles and limits of the appliance:
``appliance.json`` beside this file has them, ``entitlement.py`` and ``profiles.py`` are the
appliance's own rules. What else your hub needs goes into a file that begins with
``load_subconfig("jupyterhub_config.py")``.
"""

import json
import sys
from pathlib import Path

from batchspawner import SlurmSpawner

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

import entitlement  # noqa: E402 - lies beside this file
import profiles  # noqa: E402

TOLD = json.loads((HERE / "appliance.json").read_text())
MIB = 1 << 20


class ApplianceSpawner(SlurmSpawner):
    """One job for one session, within the student's limits."""

    def _options_form_default(self):
        return profiles.form(TOLD["profiles"])

    async def start(self):
        """Ask for what the student may use, whatever the request said."""
        profile = profiles.choose(TOLD["profiles"], self.user_options or {})
        # batchspawner puts every option of the request into the job's script.
        self.user_options = {"profile": profile}
        share = entitlement.share_of(self.user.name, profile, TOLD["shares"])
        self.req_memory = f"{-(-share.memory // MIB)}M"
        self.req_nprocs = str(-(-share.cpu // 100))
        self.req_runtime = TOLD["runtime"]
        return await super().start()

    def get_args(self):
        """The server's options, with the profile's languages."""
        chosen = TOLD["profiles"].get((self.user_options or {}).get("profile", ""), {})
        return [
            *super().get_args(),
            *profiles.arguments(chosen.get("kernels", ())),
        ]


c = get_config()  # noqa: F821 - JupyterHub's
c.JupyterHub.spawner_class = ApplianceSpawner
c.JupyterHub.hub_ip = "0.0.0.0"  # noqa: S104 - jobs answer from other machines
if TOLD["max_sessions"]:
    c.JupyterHub.active_server_limit = TOLD["max_sessions"]
c.Authenticator.username_pattern = TOLD["names"]
c.Spawner.cmd = [TOLD["server"]]
c.ApplianceSpawner.batchspawner_singleuser_cmd = TOLD["wrapper"]
# As batchspawner's own, but that a session's output is not left in the student's directory.
c.ApplianceSpawner.batch_script = """#!/bin/bash
#SBATCH --output=/dev/null
#SBATCH --job-name=notebook
#SBATCH --chdir={{homedir}}
#SBATCH --export={{keepvars}}
#SBATCH --mem={{memory}}
#SBATCH --cpus-per-task={{nprocs}}
{% if runtime %}#SBATCH --time={{runtime}}
{% endif %}{% if partition %}#SBATCH --partition={{partition}}
{% endif %}{% if options %}#SBATCH {{options}}
{% endif %}
exec {% if srun %}{{srun}} {% endif %}{{cmd}}
"""
if TOLD["idle_timeout"]:
    c.JupyterHub.load_roles = [
        {
            "name": "idle-culler",
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
            "services": ["idle-culler"],
        }
    ]
    c.JupyterHub.services = [
        {
            "name": "idle-culler",
            "command": [
                *(sys.executable, "-m", "jupyterhub_idle_culler"),
                f"--timeout={TOLD['idle_timeout']}",
            ],
        }
    ]
