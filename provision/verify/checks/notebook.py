"""The notebook: what a student gets, and what no student gets. docs/security.md has the words.

The section ``notebook_limits`` is the same facts where the guest has a kernel of its own, which
alone enforces ports and quotas.
"""

import re
from collections.abc import Callable
from typing import Any

from provision.config import Config, capacity
from provision.config.capacity import system_memory
from provision.config.quantities import format_size
from provision.verify.registry import Facts, Guest, Problems, check, collector

HOSTILE = "a made-up student tries it in a real session"
MOST_EXPOSED = 4.0  # as systemd-analyze security counts
MOST_VISITS, FEWEST_FILES = 1024, 16384
HUB_SHARE, TERMINALS_SHARE = 40, 64
LETTER = ("Disks", "Failed units", "Upgrades", "retention", "Sessions", "Wrong passwords")
HEADERS = (
    *("content-security-policy", "x-content-type-options", "referrer-policy"),
    *("cross-origin-opener-policy", "cross-origin-resource-policy"),
)


@collector("notebook")
def gather(guest: Guest) -> dict[str, Any] | None:
    """Look at the notebook, and let one made-up student attack another; needs two accounts."""
    config = guest.config
    if len(config.pool_accounts) < 2:
        return None
    return guest.script(
        "notebook",
        admin=config.admin.user,
        pool=config.pool_accounts,
        port=config.notebook.port,
        sessions_port=config.notebook.sessions_port,
        directory=config.notebook.directory,
        quota=config.pool.limits.disk,
        tasks=config.pool.limits.tasks,
        memory=config.pool.limits.memory,
    )


@check("notebook", how="ask systemd for each of its services")
def notebook_runs(config: Config, facts: Facts) -> Problems:
    """The notebook's services run."""
    for unit, state in facts["units"].items():
        if state != "active":
            yield f"{unit} is {state}"


@check("notebook", how="ask for the sign-in page in HTTPS and HTTP")
def notebook_sign_in(config: Config, facts: Facts) -> Problems:
    """The sign-in page answers, in HTTPS unless told otherwise, with the school's name."""
    page = facts["page"]
    if page["status"] != 200:
        yield f"it answers {page['status']}"
    if (page["scheme"] == "https") != config.https:
        yield f"it speaks {page['scheme']}"
    if "username_input" not in page["text"]:
        yield "there is no form"
    if config.notebook.title and config.notebook.title.split()[0] not in page["text"]:
        yield "the school's name is missing"


@check("notebook", how="look at the sign-in page's headers and cookies")
def notebook_headers(config: Config, facts: Facts) -> Problems:
    """Pages carry the headers that browsers protect them by."""
    page = facts["page"]
    yield from (f"no {name}" for name in HEADERS if name not in page["headers"])
    for cookie in page.get("cookies", ()):
        if config.https and "secure" not in cookie.lower():
            yield f"the cookie {cookie.partition('=')[0]} goes without TLS, too"


@check("notebook", how="read start-notebook")
def notebook_settings(config: Config, facts: Facts) -> Problems:
    """The start script has the configured settings, under the names of the classic notebook()."""
    expected = {
        "port": str(config.notebook.port),
        "sessions_port": str(config.notebook.sessions_port),
        "subdomain_host": f'"{config.notebook.subdomain_host or ""}"',
        "interface": f'"{config.notebook.interface}"',
        "secure": str(config.https),
        "timeout": str(config.notebook.timeout),
        "directory": f'"{config.notebook.directory}"',
        "accounts": str(config.notebook.accounts),
        "ulimit": f'"{config.notebook.ulimit}"',
    }
    for name, value in expected.items():
        if facts["settings"].get(name) != value:
            yield f"{name} is {facts['settings'].get(name)} instead of {value}"
    places = facts["settings"].get("server_pool", "").count("@")
    wanted = config.sessions + len(config.notebook.server_pool)
    if places != wanted:
        yield f"server_pool has {places} accounts instead of {wanted}"


@check("notebook", how="read the account of its service")
def notebook_unprivileged(config: Config, facts: Facts) -> Problems:
    """The hub runs as a user of its own, who is neither root nor the administrator."""
    user = facts["hub_user"]
    if not user["name"] or user["name"] in ("root", config.admin.user):
        yield f"it runs as {user['name'] or 'root'}"
    for what in ("login", "home", "groups", "sudo", "manager"):
        if user[what]:
            yield f"{user['name']} has {what}: {user[what]}"


@check("notebook", how="ask systemd how far each unit of ours is open, and read the units")
def services_confined(config: Config, facts: Facts) -> Problems:
    """Each of our services may do what it needs and little else, or its unit says why not."""
    for unit, shown in facts["exposed"].items():
        if shown["level"] is None:
            yield f"systemd does not say how far {unit} is open"
        elif shown["level"] >= MOST_EXPOSED and not shown["said"]:
            yield f"{unit} is open by {shown['level']}"


@check("notebook", how="open connections from one address without end, and ask systemd")
def visitors_share(config: Config, facts: Facts) -> Problems:
    """No visitor takes all connections of the hub and its proxy, which have enough for a class."""
    for port, held in facts["visitors"].items():
        if not 500 < held <= MOST_VISITS:
            yield f"one address has {held} connections open to port {port}"
    for unit, files in facts["descriptors"].items():
        if files < FEWEST_FILES:
            yield f"{unit} may open {files} files"


@check("notebook", how="put a link to /etc/shadow where the hub may write, and ask root's service")
def root_follows_no_link(config: Config, facts: Facts) -> Problems:
    """What root does in the hub's files follows no link of the hub's user."""
    told = facts["link"]
    if "root:" in told or '"error"' not in told:
        yield f"it answers {told[:60]}"


@check("notebook_limits", how="measure the idle guest's memory")
def capacity_kept(config: Config, facts: Facts) -> Problems:
    """The memory that `appliance plan` promises to sessions is free for them."""
    kept = system_memory(config)
    if facts["used"] > kept:
        count = capacity(config)
        yield (
            f"the system uses {format_size(facts['used'] >> 20 << 20)} of the"
            f" {format_size(kept)} that it has beside {count} sessions"
        )


@check("notebook", how="ask systemd for each account's limits")
def session_limits(config: Config, facts: Facts) -> Problems:
    """Each account has its limits on memory, swap, processor and tasks."""
    limits = config.pool.limits
    expected = {
        "MemoryMax": str(limits.memory),
        "MemorySwapMax": str(limits.swap),
        "TasksMax": str(limits.tasks + 16),  # root's share, see user.slice
    }
    for name in config.pool_accounts:
        shown = facts["limits"].get(name, {})
        for key, value in expected.items():
            if shown.get(key) != value:
                yield f"{name}: {key} is {shown.get(key)} instead of {value}"
        quota = shown.get("CPUQuotaPerSecUSec", "infinity")
        if round(100 * _seconds(quota)) != limits.cpu:
            yield f"{name}: of the processor, {quota} a second instead of {limits.cpu} %"


def _seconds(told: str) -> float:
    """What systemd writes as 1.500000s or 1min 4s; 0 for infinity."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(us|ms|s|min)\b", told))


@check("notebook", how="start it, and look into the administrator's mailbox")
def nightly_report(config: Config, facts: Facts) -> Problems:
    """Every night a letter tells the admin how disks, units, upgrades and sessions are."""
    report = facts["report"]
    if report["timer"] != "active":
        yield f"its timer is {report['timer'] or 'missing'}"
    if report["status"]:
        yield "it failed"
    elif config.mail.root is None and config.mail.smarthost is None:
        for part in LETTER:
            if part not in report["letter"]:
                yield f"the letter does not tell of {part.lower()}"


@check("notebook", how="read /etc/motd")
def message_of_the_day(config: Config, facts: Facts) -> Problems:
    """Who signs in by SSH reads how the notebook is run."""
    for word in ("notebook-accounts", "systemctl", "journalctl", config.notebook.title):
        if word not in facts["motd"]:
            yield f"it does not tell of {word}"


@check("notebook", how="open two sessions as the hub does")
def sessions_open(config: Config, facts: Facts) -> Problems:
    """Two students have sessions at once, each on an account of the pool."""
    sessions = facts["sessions"]
    if "error" in sessions:
        yield sessions["error"]
    elif not sessions["own"]:
        yield "a session cannot reach its own listener"
    elif not sessions["api"]:
        yield "a session cannot reach the hub"


def _promise(
    name: str, promise: str, judge: Callable[[Facts], Problems], section: str = "notebook"
) -> None:
    """Register a promise about the hostile student; without sessions it fails by lack of facts."""

    def judge_sessions(config: Config, facts: Facts) -> Problems:
        yield from judge(facts["sessions"])

    judge_sessions.__name__, judge_sessions.__doc__ = name, promise
    check(section, how=HOSTILE)(judge_sessions)


def _list_of(key: str, says: str) -> Callable[[Facts], Problems]:
    return lambda facts: (f"{says} {each}" for each in facts[key])


def _answer_of(key: str, says: str, *, wanted: bool = False) -> Callable[[Facts], Problems]:
    return lambda facts: iter([says] if facts[key] is not wanted else [])


def _own_files(facts: Facts) -> Problems:
    if not 50000 <= facts["owner"] <= 59999 or facts["mode"] != 0o700:
        yield f"the directory has owner {facts['owner']} and mode {facts['mode']:04o}"
    if facts["directory"]:
        yield "the list of all students can be read"
    yield from (f"can read {path}" for path in facts["files"])


def _leftovers(facts: Facts) -> Problems:
    if facts["left_processes"]:
        yield f"{facts['left_processes']} processes live on"
    yield from (f"{path} is left" for path in facts["left_files"])


def _processes(facts: Facts) -> Problems:
    yield from (f"sees processes of user {uid}" for uid in facts["processes"])
    yield from (f"reads {path}" for path in facts["environment"])
    for key, says in (
        ("ptrace", "traces another's process"),
        ("kill", "signals another's process"),
        ("bus", "reaches the system's bus"),
    ):
        if facts[key]:
            yield says
    if not facts["victim_lives"]:
        yield "the other session ended"


def _outside(facts: Facts) -> Problems:
    yield from (f"reaches {place}" for place in facts["outside"])
    if facts["udp"]:
        yield "sends datagrams"


_promise("students_files_private", "A student's files are that student's alone", _own_files)
_promise("sessions_leave_nothing", "A session leaves no process and no file behind", _leftovers)
_promise("sessions_see_themselves", "A session sees and touches only its own processes", _processes)
_promise(
    "connection_files_private",
    "No session finds the connection files of another's kernels",
    _list_of("connection_files", "finds"),
)
_promise(
    "ports_private",
    "No session reaches a port of another's",
    _answer_of("victims_port", "reaches a listener of the other session"),
)
_promise(
    "only_the_hubs_api",
    "Of the machine's services a session reaches the hub's API only",
    _list_of("services", "reaches port"),
)
_promise(
    "secrets_closed",
    "No session reads the hub's database, secrets, keys or passwords",
    _list_of("secrets", "reads"),
)
_promise(
    "usage_private",
    "No session reads what another uses",
    _list_of("usage", "reads"),
)
_promise(
    "no_further_rights",
    "No session gets further rights: no su, sudo, cron, at, mounts, namespaces, devices, mail",
    _list_of("powers", "can use"),
)
_promise(
    "nothing_in_the_kernel",
    "No session leaves shared memory, queues or semaphores in the kernel",
    _list_of("kernel_objects", "makes"),
)
_promise(
    "sessions_logged",
    "The journal tells whose session was on which account",
    _answer_of("journal", "it does not", wanted=True),
)


@check("notebook", how="a made-up student opens connections and terminals without end")
def greedy_stopped(config: Config, facts: Facts) -> Problems:
    """No student takes the hub's connections, the kernel's table of them, or the terminals."""
    taken = facts["sessions"]["shares"]
    if taken["hub"] > HUB_SHARE:
        yield f"{taken['hub']} connections to the hub could be open at once"
    if taken["terminals"] > TERMINALS_SHARE:
        yield f"{taken['terminals']} terminals could be open at once"
    opened, seconds = taken["loops"]
    # The table keeps a closed one for two minutes; see the firewall's rates.
    if opened > 1100 + 50 * seconds:
        yield f"{opened} connections could be opened in {seconds:.0f} s"


@check("notebook", how="a made-up student reads its own limits")
def sizes_limited(config: Config, facts: Facts) -> Problems:
    """A session's open files, its largest file, /tmp and all in its memory have their limits."""
    limits = config.pool.limits
    for name, most in {
        "files": limits.files, "file_size": limits.file_size,
        "tmp": min(limits.tmp, limits.memory // 8), "places": limits.memory // 2,
    }.items():  # fmt: skip
        shown = facts["sessions"]["sizes"][name]
        if not 0 < shown <= most:  # -1 is none
            yield f"{name} is {shown} instead of {most}"


@check("notebook_limits", how="a made-up student starts processes and takes memory without end")
def bombs_contained(config: Config, facts: Facts) -> Problems:
    """Who takes all memory or processes is stopped at the limit, and others work on."""
    sessions = facts["sessions"]
    if sessions["forks"] >= config.pool.limits.tasks:
        yield f"{sessions['forks']} processes could be started"
    if sessions["greedy"] != -9:  # what the kernel does to it
        yield f"taking more memory than allowed ends with status {sessions['greedy']}"
    if not sessions["victim_works"]:
        yield "another's session stood still"


@check("notebook", how=HOSTILE)
def network_of_sessions(config: Config, facts: Facts) -> Problems:
    """Sessions reach nothing outside, unless notebook.network opens it."""
    if config.notebook.network == "none":
        yield from _outside(facts["sessions"])


@check("notebook_limits", how=HOSTILE)
def ports_cannot_be_taken(config: Config, facts: Facts) -> Problems:
    """No session takes the port on which another answers the hub."""
    if facts["sessions"]["took_port"]:
        yield "it could be taken"


@check("notebook_limits", how="compare a student's quota with the disk")
def file_places_kept(config: Config, facts: Facts) -> Problems:
    """Students whose quotas fill the disk have not used up its places for files before."""
    most = facts["sessions"]["most_files"]
    if not (quota := config.pool.limits.disk):
        return
    if not most["quota"]:
        yield "files are not counted"
    elif most["quota"] * (most["bytes"] // quota) > most["places"]:
        yield f"{most['quota']} files of each student, and {most['places']} in all"


@check("notebook_limits", how="a made-up student writes more than the quota")
def quota_kept(config: Config, facts: Facts) -> Problems:
    """A student's files have a quota."""
    if config.pool.limits.disk and "quota" not in facts["sessions"]["quota"].lower():
        yield f"writing past it ends with: {facts['sessions']['quota']}"
