"""Combinations that cannot work, though each value alone is well formed.

Each rule is a function from a configuration to its problems. ``check`` runs them all.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from provision.config import books, words
from provision.config.architectures import of_this_host
from provision.config.capacity import (
    forks,
    least_for_sage,
    needed_memory,
    promised_sessions,
    system_memory,
)
from provision.config.distributions import DISTRIBUTIONS
from provision.config.languages import LANGUAGES, PYTHON_PACKAGES, SAGE_PACKAGES
from provision.config.model import Config, Lti, LtiCourse, OwnLimits
from provision.config.problems import Key, Problem, enumeration
from provision.config.quantities import format_size
from provision.config.wheels import normalize, pins

MIB = 1 << 20
GIB = 1 << 30

ROOT_NEEDED = {"none": 3 * GIB, "passagemath": 10 * GIB, "debian": 10 * GIB, "tarball": 16 * GIB}
"""Room on the root disk by source of Sage: the system, the notebook and one upgrade beside it."""

_ONLY_WITH = {"lock": "passagemath", "path": "tarball", "url": "tarball", "sha256": "tarball"}
_SYSTEM_DIRECTORIES = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",  # noqa: S108
    "/usr",
)
_MOST_DISKS = 30
"""Ports of VirtualBox's SATA controller."""


def check(config: Config) -> list[Problem]:
    """Every combination of this configuration that cannot work."""
    return [problem for rule in _RULES for problem in rule(config)]


def _memory(config: Config) -> Iterator[Problem]:
    limit, system = config.pool.limits.memory, system_memory(config)
    wanted, promised = config.sessions, promised_sessions(config.memory, limit, system)
    if promised >= wanted:
        return
    count: Key = ("notebook", "max_sessions") if config.notebook.max_sessions else ("pool", "count")
    mend = f"write memory: {format_size(needed_memory(wanted, limit, system))}"
    if promised:
        mend += f" or {'.'.join(map(str, count))}: {promised}"
    yield Problem(
        ("memory",),
        f"{format_size(config.memory)} holds {promised} of {wanted} sessions of"
        f" {format_size(limit)} beside the system's {format_size(system)}",
        mend,
        others=(count, ("pool", "limits", "memory")),
    )


def _sage_memory(config: Config) -> Iterator[Problem]:
    usual = config.pool.limits.memory
    sessions: list[tuple[Key, int, bool]] = [
        (("pool", "limits", "memory"), usual, True),
        *(
            (("profiles", name, "limits", "memory"), profile.limits.memory or usual, profile.forked)
            for name, profile in config.profiles.items()
            if not profile.kernels or "sage" in profile.kernels
        ),
    ]
    for key, memory, forked in sessions:
        least = least_for_sage(config, forked=forked)
        if config.sage.source != "none" and memory < least:
            started = "" if forked or not forks(config) else " whose kernel is not forked"
            yield Problem(
                key,
                f"{format_size(memory)} is too little for a Sage session{started}",
                f"write at least {format_size(least)}, or sage.source: none",
                others=(("sage", "source"),),
            )


def _limits(config: Config) -> Iterator[Problem]:
    limits = config.pool.limits
    if limits.tmp > limits.memory:
        yield Problem(
            ("pool", "limits", "tmp"),
            f"it is in memory, and {format_size(limits.tmp)} is more than a session has",
            f"write at most {format_size(limits.memory)}",
            others=(("pool", "limits", "memory"),),
        )
    if limits.cpu > 100 * config.cpus:
        yield Problem(
            ("pool", "limits", "cpu"),
            f"{limits.cpu} % is more than all {config.cpus} processors",
            f"write at most {100 * config.cpus}, or give the VM more cpus",
            others=(("cpus",),),
        )


def _shares(config: Config) -> Iterator[Problem]:
    shares: list[tuple[Key, OwnLimits]] = [
        *((("pool", "groups", n, "limits"), g.limits) for n, g in config.pool.groups.items()),
        *((("pool", "students", n), s) for n, s in config.pool.students.items()),
        *((("profiles", n, "limits"), p.limits) for n, p in config.profiles.items()),
    ]
    room = config.memory - system_memory(config)
    for key, share in shares:
        if share.memory is not None and not config.pool.limits.tmp <= share.memory <= room:
            least, most = format_size(config.pool.limits.tmp), format_size(room)
            yield Problem(
                (*key, "memory"),
                f"{format_size(share.memory)} for one session",
                f"write from {least}, the size of its /tmp, to {most}, what the VM has for all",
                others=(("memory",),),
            )
        if share.cpu is not None and share.cpu > 100 * config.cpus:
            yield Problem(
                (*key, "cpu"),
                f"{share.cpu} % is more than all {config.cpus} processors",
                f"write at most {100 * config.cpus}, or give the VM more cpus",
                others=(("cpus",),),
            )


def _languages(config: Config) -> Iterator[Problem]:
    kernels, julia = config.kernels, config.kernels.julia
    there = {"python", *(name for name in LANGUAGES if getattr(kernels, name))}
    there |= {"sage"} if config.sage.source != "none" else set()
    for name, profile in config.profiles.items():
        for missing in (kernel for kernel in profile.kernels if kernel not in there):
            mend: Key = ("sage", "source") if missing == "sage" else ("kernels", missing)
            yield Problem(
                ("profiles", name, "kernels"),
                f"{missing} is not in this appliance",
                f"leave it out, or set {'.'.join(map(str, mend))}",
                others=(mend,),
            )
    if julia and (julia.path is None) == (julia.url is None):
        yield Problem(
            ("kernels", "julia"), "it needs a path or a url", "add one of the two", others=()
        )


def _documentation(config: Config) -> Iterator[Problem]:
    possible = books.possible(config)
    for number, name in enumerate(config.documentation or ()):
        if name not in possible:
            key: Key = tuple(books.BOOKS[name].key.split("."))
            yield Problem(
                ("documentation", number),
                f"what {name} is about is not in this appliance",
                f"leave it out, or set {'.'.join(map(str, key))}",
                others=(key,),
            )


def _sign_in(config: Config) -> Iterator[Problem]:
    given = [name for name in ("google", "oidc", "ldap") if getattr(config.sign_in, name)]
    for further in given[1:]:
        yield Problem(
            ("sign_in", further),
            f"{given[0]} says already who a student is",
            "leave one of the two out",
            others=(("sign_in", given[0]),),
        )
    if given and config.notebook.accounts:
        yield Problem(
            ("notebook", "accounts"),
            f"visitors' own accounts mean nothing where {given[0]} says who a student is",
            "leave it out",
            others=(("sign_in", given[0]),),
        )
    ldap = config.sign_in.ldap
    if ldap and "{username}" not in ldap.template:
        yield Problem(
            ("sign_in", "ldap", "template"),
            "it does not say where the name goes",
            "write {username} there, as in uid={username},ou=people,dc=example,dc=org",
        )


def _platforms(config: Config) -> Iterator[Problem]:
    """Of learning platforms, which stand beside the appliance's own accounts."""
    sign_in = config.sign_in
    given = [name for name in ("google", "oidc", "ldap") if getattr(sign_in, name)]
    for other in given if sign_in.lti else []:
        yield Problem(
            ("sign_in", "lti"),
            f"{other} says already who a student is",
            "leave one of the two out",
            others=(("sign_in", other),),
        )
    if sign_in.lti and sign_in.admins:
        yield Problem(
            ("sign_in", "admins"),
            "nobody administers the notebook from a learning platform",
            "leave it out: admin.user has a password of the appliance's own",
            others=(("sign_in", "lti"),),
        )
    seen: dict[tuple[str, str], int] = {}
    for number, platform in enumerate(sign_in.lti):
        key: Key = ("sign_in", "lti", number)
        if (first := seen.setdefault((platform.issuer, platform.client_id), number)) != number:
            yield Problem(
                (*key, "client_id"),
                f"{platform.client_id} of {platform.issuer} is there already",
                "write both their deployments into one",
                others=(("sign_in", "lti", first, "client_id"),),
            )
        if not platform.deployments:
            yield Problem(
                (*key, "deployments"),
                "without one nothing opens the notebook",
                "write the deployment id that the platform shows, as in ['1']",
            )
        for place, each in enumerate(platform.courses):
            yield from _platform_course(config, platform, (*key, "courses", place), each)


def _platform_course(config: Config, platform: Lti, key: Key, each: LtiCourse) -> Iterator[Problem]:
    if each.course not in config.courses:
        yield Problem(
            (*key, "course"),
            f"there is no course {each.course}",
            f"choose from {enumeration(sorted(config.courses))}"
            if config.courses
            else "write it under courses",
            others=(("courses",),),
        )
    if each.deployment is None and len(platform.deployments) > 1:
        yield Problem(
            (*key, "context"),
            f"{platform.title} has several deployments, and a context {each.context} in each",
            "add deployment: with one of them",
            others=((*key[:3], "deployments"),),
        )
    if each.deployment is not None and each.deployment not in platform.deployments:
        yield Problem(
            (*key, "deployment"),
            f"{platform.title} has no deployment {each.deployment}",
            f"choose from {enumeration(platform.deployments)}",
            others=((*key[:3], "deployments"),),
        )


def _courses(config: Config) -> Iterator[Problem]:
    for name, course in config.courses.items():
        if course.group is not None and course.group not in config.pool.groups:
            yield Problem(
                ("courses", name, "group"),
                f"there is no group {course.group}",
                f"choose from {enumeration(sorted(config.pool.groups))}"
                if config.pool.groups
                else "write it under pool.groups, or name the members",
                others=(("pool", "groups"),),
            )
        both = config.learners(course) & {*course.teachers}
        if both:
            yield Problem(
                ("courses", name, "teachers"),
                f"{enumeration(sorted(both))} cannot both teach and hand in",
                "leave the name out of one of the two",
                others=(("courses", name, "members"),),
            )


def _sessions(config: Config) -> Iterator[Problem]:
    wanted = config.notebook.max_sessions or 0
    accounts = config.pool.count + len(config.notebook.server_pool)
    if wanted > accounts:
        yield Problem(
            ("notebook", "max_sessions"),
            f"{wanted} sessions need {wanted} accounts, and there are {accounts}",
            f"write at most {accounts}, or pool.count: {wanted}",
            others=(("pool", "count"),),
        )


def _mounts(config: Config) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for name, disk in config.disks.items():
        key: Key = ("disks", name, "mount")
        if disk.mount in owner:
            yield Problem(
                key,
                f"the disk {owner[disk.mount]} is mounted at {disk.mount} already",
                "give each disk its own mount point",
                others=(("disks", owner[disk.mount], "mount"),),
            )
        owner.setdefault(disk.mount, name)
        if any(disk.mount == d or disk.mount.startswith(f"{d}/") for d in _SYSTEM_DIRECTORIES):
            yield Problem(key, f"{disk.mount} belongs to the system", "write one as in /srv/data")
    for name, mount in (("root", "/"), ("home", "/home")):
        if mount not in owner:
            yield Problem(
                ("disks", name, "mount"),
                f"no disk is mounted at {mount}",
                f"write mount: {mount}",
                others=(("disks",),),
            )
    if len(config.disks) > _MOST_DISKS:
        yield Problem(
            ("disks",), f"{len(config.disks)} disks", f"a VM has room for {_MOST_DISKS}; use fewer"
        )


def _disk_sizes(config: Config) -> Iterator[Problem]:
    for name, disk in config.disks.items():
        key: Key = ("disks", name, "size")
        size, source = format_size(disk.size), config.sage.source
        if disk.size % MIB:
            yield Problem(
                key, f"{size} is not a whole number of M", f"write {disk.size // MIB + 1}M"
            )
        elif disk.size < 64 * MIB or disk.size > 2048 * GIB:
            yield Problem(key, f"a disk of {size}", "write a size from 64M to 2T")
        elif disk.mount == "/" and disk.size < ROOT_NEEDED[source]:
            profile = "the system" if source == "none" else f"the system and Sage ({source})"
            need = format_size(ROOT_NEEDED[source])
            yield Problem(
                key,
                f"{size} is too small for {profile}",
                f"write at least {need}",
                others=(("sage", "source"),),
            )


def _students(config: Config) -> Iterator[Problem]:
    directory = config.notebook.directory
    holding = [d for d in config.disks.values() if _below(directory, d.mount)]
    disk = max(holding, key=lambda d: len(d.mount), default=None)
    if disk is None or disk.mount == "/":
        elsewhere = sorted(d.mount for d in config.disks.values() if d.mount != "/")
        yield Problem(
            ("notebook", "directory"),
            f"{directory} is on the root disk, where a full disk stops the machine",
            f"choose a directory below {enumeration(elsewhere or ['/home'])}",
            others=(("disks",),),
        )
        return
    usable = int(disk.size * (1 - disk.reserve / 100))
    quota = config.pool.limits.disk
    if quota > usable:
        yield Problem(
            ("pool", "limits", "disk"),
            f"{disk.mount} has {usable // MIB}M beside its reserve,"
            f" less than one student's {format_size(quota)}",
            "lower it, or make that disk larger",
            others=tuple(("disks", n, "size") for n, d in config.disks.items() if d is disk),
        )


def _below(path: str, mount: str) -> bool:
    return mount in ("/", path) or path.startswith(f"{mount}/")


def _forwards(config: Config) -> Iterator[Problem]:
    owner: dict[int, str] = {}
    for name, forward in config.network.forwards.items():
        if forward.host in owner:
            yield Problem(
                ("network", "forwards", name, "host"),
                f"port {forward.host} of this host leads to {owner[forward.host]} already",
                "give each forward its own host port",
                others=(("network", "forwards", owner[forward.host], "host"),),
            )
        owner.setdefault(forward.host, name)
    ssh = config.network.forwards.get("ssh")
    if ssh is None or ssh.guest != 22:
        yield Problem(
            ("network", "forwards", "ssh", "guest"),
            "the appliance is administered over SSH, on port 22 of the guest",
            "write ssh: {host: 2222, guest: 22}",
            others=(("network", "forwards", "ssh"),),
        )
    notebook = config.network.forwards.get("notebook")
    if notebook and notebook.guest != config.notebook.port:
        yield Problem(
            ("network", "forwards", "notebook", "guest"),
            f"leads to port {notebook.guest}, but the notebook listens on {config.notebook.port}",
            f"write guest: {config.notebook.port}",
            others=(("notebook", "port"),),
        )
    if config.notebook.port == 22:
        yield Problem(("notebook", "port"), "port 22 is the SSH server's", "write one as in 8000")
    yield from _sessions_port(config)


def _sessions_port(config: Config) -> Iterator[Problem]:
    """What is wrong with the sessions' port, which a browser finds by the notebook's."""
    port, guest = config.notebook.port, config.notebook.sessions_port
    key: Key = ("notebook", "sessions_port")
    taken = {22: "the SSH server's", port: "the notebook's"}
    if guest in taken:
        yield Problem(key, f"port {guest} is {taken[guest]}", "write one as in 8443")
    notebook = config.network.forwards.get("notebook")
    forward = config.network.forwards.get("sessions")
    if notebook is None or notebook.guest != port:
        return
    if forward is None:
        yield Problem(
            ("network", "forwards", "sessions"),
            "no port leads to the sessions, so that nobody could work",
            "leave sessions away: it follows the notebook's forward",
        )
    elif forward.guest != guest:
        yield Problem(
            ("network", "forwards", "sessions", "guest"),
            f"leads to port {forward.guest}, but the sessions are on {guest}",
            f"write guest: {guest}",
            others=(key,),
        )
    elif forward.host - notebook.host != guest - port:
        yield Problem(
            ("network", "forwards", "sessions", "host"),
            f"is {forward.host - notebook.host} above the notebook's, but a browser looks for it"
            f" {guest - port} above, as in the guest",
            f"write host: {notebook.host + guest - port}, or leave it away",
            others=(("network", "forwards", "notebook", "host"), key),
        )
    elif forward.public != notebook.public:
        yield Problem(
            ("network", "forwards", "sessions", "public"),
            "who reaches the notebook must reach the sessions, and nobody else",
            f"write public: {str(notebook.public).lower()}, or leave it away",
            others=(("network", "forwards", "notebook", "public"),),
        )


def _accounts(config: Config) -> Iterator[Problem]:
    taken = {config.pool.group: "the pool's group"}
    taken |= dict.fromkeys(config.pool_accounts, "an account of the pool")
    if config.admin.user in taken:
        yield Problem(
            ("admin", "user"),
            f"{config.admin.user} is {taken[config.admin.user]}",
            "choose another name",
            others=(("pool", "prefix"), ("pool", "group")),
        )
    if config.pool.group in config.pool_accounts:
        yield Problem(
            ("pool", "group"),
            f"{config.pool.group} is an account of the pool",
            "choose another name",
            others=(("pool", "prefix"),),
        )


def _release(config: Config) -> Iterator[Problem]:
    suite, distribution = config.suite, config.distribution
    known = DISTRIBUTIONS[distribution].suites
    if any(suite in each.too_old for each in DISTRIBUTIONS.values()):
        yield Problem(
            ("suite",),
            f"{suite} is too old: sessions need util-linux 2.39 and OpenSSH 9.8 in the guest",
            f"write {known[0]} or a later one",
        )
    elif suite not in known and any(suite in each.suites for each in DISTRIBUTIONS.values()):
        yield Problem(
            ("suite",),
            f"{suite} is not a suite of {distribution}",
            f"write {known[0]}, or change distribution",
            others=(("distribution",),),
        )
    if config.sage.source == "debian" and suite == "trixie":
        yield Problem(
            ("sage", "source"),
            "trixie has no sagemath package",
            "write passagemath, or another suite",
            others=(("suite",),),
        )


def _architecture(config: Config) -> Iterator[Problem]:
    arch, here = config.architecture, of_this_host()
    if arch == here:
        return
    if config.jail.enabled:
        yield Problem(
            ("jail", "enabled"),
            f"the jail of an {arch} guest is made on a host with {arch} only, and here is {here}",
            "build there, or leave the jail out",
            others=(("arch",),),
        )
    if config.image is not None:
        yield Problem(
            ("image", "source"),
            f"a cloud image for {arch} boots on a host with {arch} only, and here is {here}",
            "build there, or from the mirror: leave image out",
            others=(("arch",),),
        )


def _downloads(config: Config) -> Iterator[Problem]:
    image = config.image
    if image and image.sha256 is None and image.source.startswith(("http://", "https://")):
        yield Problem(
            ("image", "sha256"), "a download needs its checksum", "add sha256: of the image"
        )
    sage = config.sage
    for name, source in _ONLY_WITH.items():
        if sage.source != source and getattr(sage, name) is not None:
            yield Problem(
                ("sage", name),
                f"means nothing with source: {sage.source}",
                f"leave it out, or write source: {source}",
                others=(("sage", "source"),),
            )
    if sage.source == "passagemath" and sage.lock is None and sage.version is not None:
        yield Problem(
            ("sage", "version"),
            f"we know no wheels of {sage.version}",
            "add lock: with their list (docs/fleet.md), or leave version out for the tested one",
            others=(("sage", "lock"),),
        )
    if sage.lock is not None and sage.version is None:
        yield Problem(
            ("sage", "lock"),
            "it is not said of which version these are",
            "add version:, as in 10.9",
            others=(("sage", "version"),),
        )
    if sage.source != "tarball":
        return
    if (sage.path is None) == (sage.url is None):
        yield Problem(
            ("sage", "source"),
            "a tarball needs a path or a url",
            "add one of the two",
            others=(("sage", "path"), ("sage", "url")),
        )
    if sage.version is None:
        yield Problem(
            ("sage", "version"),
            "a tarball needs its version",
            "add version:, as in 9.5",
            others=(("sage", "source"),),
        )
    if sage.url is not None and sage.sha256 is None:
        yield Problem(
            ("sage", "sha256"),
            "a download needs its checksum",
            "add sha256: of the tarball",
            others=(("sage", "url"),),
        )


def _packages(config: Config) -> Iterator[Problem]:
    python, sage = config.kernels.python, config.sage
    of_python: Key = ("kernels", "python")
    yield from _unlocked_packages(of_python, python.packages, PYTHON_PACKAGES, python.lock)
    if sage.source == "passagemath":
        yield from _unlocked_packages(("sage",), sage.packages, SAGE_PACKAGES, sage.lock)
    elif sage.packages != SAGE_PACKAGES:
        yield Problem(
            ("sage", "packages"),
            f"means nothing with source: {sage.source}",
            "leave it out, or write source: passagemath",
            others=(("sage", "source"),),
        )


def _unlocked_packages(
    section: Key, packages: Sequence[str], tested: Sequence[str], lock: Path | None
) -> Iterator[Problem]:
    """Every package that no list of wheels with hashes has."""
    mend = "appliance lock writes a list that has it; name that in lock:"
    have = pins(lock.read_text()) if lock else dict.fromkeys(tested, "")
    for package in packages:
        name, _, version = package.partition("==")
        there = have.get(normalize(name))
        if there is None or (version and version != there):
            found = f"{lock} has {there}" if there else f"{lock or 'the tested list'} has it not"
            yield Problem((*section, "packages"), f"{package}: {found}", mend, others=())
    missing = ", ".join(sorted(set(tested) - set(map(normalize, packages))))
    if lock is None and missing and (packages or section == ("sage",)):
        yield Problem(
            (*section, "packages"),
            f"the tested list has {missing}, too",
            "add that, or name a list of your own in lock: (appliance lock)",
            others=(),
        )


def _sources(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, source in enumerate(config.apt_sources):
        if source.name in seen:
            yield Problem(
                ("apt_sources", number, "name"),
                f"{source.name} is there already",
                "give each source its own name",
            )
        seen.add(source.name)


_RULES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    words.check,
    _memory,
    _sage_memory,
    _limits,
    _shares,
    _languages,
    _documentation,
    _sign_in,
    _platforms,
    _courses,
    _sessions,
    _mounts,
    _disk_sizes,
    _students,
    _forwards,
    _accounts,
    _release,
    _architecture,
    _downloads,
    _packages,
    _sources,
)
