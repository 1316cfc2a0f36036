"""What is said of an appliance, in its OVA and at the end of a build."""

from provision.config import Config


def how_to_reach(config: Config) -> str:
    """A few lines for people: ports, account, where the notebook is."""
    lines = [f"{config.name} {config.version}: a multi-user Sage notebook server."]
    for name, forward in config.network.forwards.items():
        where = "every address of the host" if forward.public else "the host itself"
        lines.append(f"{name}: port {forward.host} of {where} leads to port {forward.guest}.")
    if "ssh" in config.network.forwards:
        port = config.network.forwards["ssh"].host
        lines.append(f"Sign in with the admin's key: ssh -p {port} {config.admin.user}@localhost")
    return "\n".join(lines)
