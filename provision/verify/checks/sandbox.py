"""The grading sandbox and the Python jail, where the configuration puts them in."""

from provision.config import Config
from provision.verify.registry import Facts, Guest, Problems, check, collector


@collector("sandbox")
def gather(guest: Guest) -> Facts | None:
    """What a task and a jailed program see; None without either."""
    wanted = {"grader": guest.config.grader.enabled, "jail": guest.config.jail.enabled}
    return guest.script("sandbox", **wanted) if any(wanted.values()) else None


@check("sandbox", how="grade an exercise as the administrator")
def grader_answers(config: Config, facts: Facts) -> Problems:
    """The grading sandbox runs an exercise and gives its outputs back."""
    if not config.grader.enabled:
        return
    result = facts["result"]
    if result["status"] != "finished":
        yield f"the exercise {result['status']}: {result.get('reason') or result.get('stderr')}"
    elif not result["stdout"].startswith("out\n") or not result["output"]:
        yield f"its outputs are lost: {result}"


@check("sandbox", how="look around from inside a task")
def grader_confines(config: Config, facts: Facts) -> Problems:
    """A task has no privilege, no network card, no file of ours to write, no process to see."""
    if not config.grader.enabled:
        return
    result = facts["result"]
    processes, cards, capabilities = [*result["stderr"].splitlines(), "", "", ""][:3]
    if result["output"].strip() in ("", "0"):
        yield "it runs as root"
    if result["stdout"] != "out\n":
        yield f"it wrote {result['stdout'].split()[1:]}"
    if not processes.isdigit() or int(processes) > 10:
        yield f"it sees {processes} processes"
    if cards != "1":
        yield f"it has {cards} network interfaces"
    if capabilities:
        yield f"it has the capabilities {capabilities}"


@check("sandbox", how="grade an exercise that takes all the memory it gets, then another")
def grader_survives(config: Config, facts: Facts) -> Problems:
    """A task that takes all memory ends by its own limit, and the next one runs."""
    if not config.grader.enabled:
        return
    bomb = facts["bomb"]
    if bomb["status"] not in ("failed", "timeout"):
        yield f"the exercise {bomb['status']}: {bomb['reason']}"
    elif bomb["memory"] > config.grader.limits.memory + config.grader.limits.disk:
        yield f"it had {bomb['memory']} bytes"
    if facts["next"].get("stdout") != "fine\n":
        yield f"the next one {facts['next']['status']}: {facts['next'].get('reason')}"


@check("sandbox", how="read the service's own status")
def grader_uses_cgroups(config: Config, facts: Facts) -> Problems:
    """Memory, processes and processor time of a task are bounded by a cgroup of its own."""
    # A container's host keeps the controllers.
    if not config.grader.enabled or facts["container"]:
        return
    kept = facts["status"]["engines"]["bubblewrap"]
    for what in ("memory", "tasks", "cpu"):
        if not kept[what].startswith("cgroup v2"):
            yield f"{what}: {kept[what]}"


@check("sandbox", how="ask for results to be sent to a listener of the machine's own")
def grader_notifies_no_insider(config: Config, facts: Facts) -> Problems:
    """Results go to no address of the appliance's own network, however it is written."""
    # What the configuration allows is fine.
    if not config.grader.enabled or config.grader.notify_allow:
        return
    yield from (f"{host} was reached" for host in facts["notified"]["came"])
    for host, how in facts["notified"]["ways"].items():
        if not how.startswith("abandoned"):
            yield f"{host}: {how or 'no word of it'}"


@check("sandbox", how="safeexec as the account nobody")
def jail_runs(config: Config, facts: Facts) -> Problems:
    """The jail runs a line of Python for an ordinary account and reports as safeexec does."""
    if not config.jail.enabled:
        return
    jail = facts["jail"]
    if jail["printed"] != "2\n" or not jail["report"].startswith("OK\nelapsed time: "):
        yield f"it printed {jail['printed']!r} and reported {jail['report']!r}"
