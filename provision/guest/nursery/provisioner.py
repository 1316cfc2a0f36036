"""Lets Jupyter fork a kernel; whatever goes wrong, the kernel starts the usual way.

A kernel provisioner, so that every kernel's description stays what it is: whoever starts one
elsewhere, or by hand, starts it as it says.
"""

import asyncio
import os
from typing import Any

from jupyter_client.provisioning import LocalProvisioner  # type: ignore[import-not-found]

from provision.guest.nursery.client import fork
from provision.guest.nursery.wire import PLACE, ForkRefusedError, socket_of


class ForkedProvisioner(LocalProvisioner):  # type: ignore[misc]  # jupyter_client's traits
    """A kernel of the nursery of its environment, if that has one."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork the kernel, or start it as its description says."""
        options = {name: value for name, value in kwargs.items() if value is not None}
        nursery = socket_of(cmd[0]) if cmd[1:2] == ["-m"] else None
        if (
            nursery is None
            or not PLACE.is_dir()
            or set(options) - {"env", "cwd", "kernel_id", "extra_arguments"}
        ):
            return await super().launch_kernel(cmd, **kwargs)
        env = {**options.get("env", os.environ), "JPY_PARENT_PID": str(os.getpid())}
        cwd = options.get("cwd")
        words = [os.path.expanduser(word) for word in cmd]  # noqa: PTH111 - as jupyter_client does
        try:
            self.process = await asyncio.to_thread(fork, nursery, words, env, cwd)
        except (OSError, ForkRefusedError) as error:
            self.log.warning("No kernel is forked by %s: %s. It is started.", nursery, error)
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        self.cwd = cwd or os.getcwd()  # noqa: PTH109 - as its parent class has it
        return self.connection_info
