"""Have appliances renew the notebook by themselves, from a published channel.

What they do is ``inside/update_notebook.py``, and what they take is what
``distribution/environments.py`` has published.
"""

from dataclasses import astuple, dataclass, replace
from typing import Any

from provision.config.architectures import channel_of
from provision.fleet import lease
from provision.fleet.inside.answers import NotebookFacts
from provision.fleet.inventory import Host, Inventory
from provision.fleet.notebook import PROGRAM as NOTEBOOK
from provision.fleet.notebook import architecture_of
from provision.fleet.remote import reach
from provision.fleet.upgrade import Tell

PROGRAM = "update_notebook"
TIMEOUT = 300.0  # seconds: it asks the channel at once


@dataclass(frozen=True)
class UpdateSource:
    """What is followed.

    Args:
        url: of the published folder, as the appliance reaches it.
        key: the publisher's minisign public key, its second line.
        channel: which one.
    """

    url: str
    key: str
    channel: str


def follow(
    host: Host,
    inventory: Inventory,
    source: UpdateSource | None,
    tell: Tell,
    *,
    take_over: bool = False,
) -> dict[str, Any]:
    """Have an appliance follow a channel, in the window of its unattended upgrades.

    One with ARM64 follows the channel beside it that is for its kind.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        source: what it follows; None: nothing any more.
        tell: called as it begins.
        take_over: end another run that has the appliance.

    Raises:
        ApplianceBusyError: another run has the appliance.
        StepError: nothing that is by that key can be had there; it follows what it did.
        GuestError: no way in.
    """
    what = "upgrade notebook --follow"
    tell("leave" if source is None else "follow", "")
    with (
        lease.holding(host, inventory, what, take_over=take_over) as ours,
        reach(ours, inventory) as remote,
    ):
        if source is not None:  # of its own architecture, as a seat pulls
            arch = architecture_of(remote.ask(NotebookFacts, NOTEBOOK, "look"))
            source = replace(source, channel=channel_of(arch, source.channel))
        words = ("leave",) if source is None else ("follow", host.user, *astuple(source))
        told: dict[str, Any] = remote.program(PROGRAM, *words, timeout=TIMEOUT)
    return told
