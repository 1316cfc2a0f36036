"""What is said of an appliance, in its OVA and at the end of a build."""

from pathlib import Path

from provision.config import Config


def how_to_reach(config: Config, key: Path | None = None) -> str:
    """A few lines for people: where the notebook is, who gets in, and what changes that.

    Args:
        config: the appliance.
        key: the admin's private key on this host; None: it is not known here.
    """
    product = "Sage notebook" if config.sage.source != "none" else "notebook"
    lines = [f"{config.name} {config.version}: a multi-user {product} server."]
    for name, forward in config.network.forwards.items():
        where = "every address of the host" if forward.public else "the host itself"
        lines.append(f"{name}: port {forward.host} of {where} leads to port {forward.guest}.")
    steps = [*_page(config), *_password(config, key), *_students(config), *_places(config)]
    lines += [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join(lines)


def address(config: Config) -> str | None:
    """Where a browser of the host finds the notebook; None: no port leads there."""
    for forward in config.network.forwards.values():
        if forward.guest == config.notebook.port:
            return f"http{'s' if config.https else ''}://localhost:{forward.host}/"
    return None


def _page(config: Config) -> list[str]:
    if not (url := address(config)):
        return ["No port leads to the notebook: add network.forwards.notebook."]
    own = " The certificate is its own: the browser asks once." if config.https else ""
    return [f"When it runs, open {url}.{own}"]


def _password(config: Config, key: Path | None) -> list[str]:
    ssh = config.network.forwards.get("ssh")
    if ssh is None:
        return []
    enter = f"ssh -i {key or 'KEY'} -p {ssh.host} {config.admin.user}@localhost"
    known = "" if key else ", KEY being the admin's private key"
    if any((config.sign_in.google, config.sign_in.oidc, config.sign_in.ldap)):
        return [f"The admin's shell{known}: {enter}"]
    read = "sudo cat /var/lib/notebook/first-password"
    return [f"The first password of {config.admin.user} there{known}: {enter} {read}"]


def _students(config: Config) -> list[str]:
    if any((config.sign_in.google, config.sign_in.oidc, config.sign_in.ldap)):
        return ["Students sign in as the school says (sign_in)."]
    ways = "in the admin's shell, sudo notebook-accounts add NAME, or import FILE for a class"
    if config.notebook.accounts:
        ways += "; or they make their own accounts by signing in"
    return [f"Students: {ways}."]


def _places(config: Config) -> list[str]:
    public = any(
        forward.public and forward.guest == config.notebook.port
        for forward in config.network.forwards.values()
    )
    reach = (
        "the room reaches it"
        if public
        else "this host alone reaches it, until network.forwards.notebook.public is true"
    )
    places = "1 place" if config.sessions == 1 else f"{config.sessions} places"
    return [f"{places} at once (pool.count), and {reach}: change appliance.yml, build again."]
