"""What the playbooks are told: the configuration in the terms of our roles."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from provision.config import Config, books
from provision.config.capacity import forks
from provision.config.distributions import DISTRIBUTIONS
from provision.config.languages import further, kernel_of
from provision.config.section import Section
from provision.guest.grader.instances import proxy_configuration
from provision.guest.grader.settings import Settings
from provision.guest.record import VERSION
from provision.jeos.archive import SourceLine

# What the roles grader and jail run on.
GRADER_PACKAGES = (
    "bubblewrap",
    "nftables",
    "python3-aiohttp",
    "python3-tomli-w",
    "squashfs-tools",
    "squid",
)
JAIL_PACKAGES = ("bubblewrap",)
# Of the proxy between sessions and the servers that they reach for git and for stores.
EGRESS_PORT = 3120
SWAP_PACKAGES: Mapping[str, Sequence[str]] = {"none": (), "zram": ("systemd-zram-generator",)}


def playbook_variables(
    config: Config,
    sources: Sequence[SourceLine],
    *,
    epoch: int,
    admin_keys: Sequence[str] = (),
    ca_bundle: str | None = None,
    building: bool = True,
) -> dict[str, Any]:
    """Everything that `packages.yml`, `configure.yml` and `site.yml` need.

    Args:
        config: the appliance.
        sources: the distribution's own package sources, as its base was made from.
        epoch: the time that stands in what packages generate, in seconds since 1970.
        admin_keys: public keys to let in besides the configured ones.
        ca_bundle: file in the guest with the certificate authorities of this host, for
            downloads during the build.
        building: the guest is a build's: root may enter by SSH, and services are left alone
            until the next boot. False for an appliance in use.

    Returns:
        Plain data, as JSON can carry it.
    """
    forwards, distribution = config.network.forwards, DISTRIBUTIONS[config.distribution]
    patterns = (
        *distribution.urgent,
        *distribution.others * (config.unattended_upgrades.origins == "all"),
    )
    return {
        "building": building,
        "build_environment": _environment(config, epoch, ca_bundle, building=building),
        "admin_user": config.admin.user,
        "pool_group": config.pool.group,
        "pool_accounts": list(config.pool_accounts),
        "packages_sources": [*_distribution(config, sources), *_further(config)],
        "packages_ca_certificates": [str(path) for path in config.ca_certificates],
        "packages_extra": [
            *config.packages,
            *((distribution.kernel_of(config.architecture),) if config.image else ()),
            *SWAP_PACKAGES[config.swap],
            *(GRADER_PACKAGES if config.grader.enabled else ()),
            *(JAIL_PACKAGES if config.jail.enabled else ()),
        ],
        "packages_upgrade": config.image is not None,
        "base_hostname": config.name,
        "base_version": config.version,
        "base_locale": config.locale,
        "base_timezone": config.timezone,
        "base_keyboard": config.keyboard,
        "base_swap": config.swap,
        "base_open_ports": sorted({forward.guest for forward in forwards.values()} - {22}),
        "base_forwards": {name: forward.model_dump() for name, forward in forwards.items()},
        "keys_admin": list(dict.fromkeys((*config.admin.keys, *admin_keys))),
        "mail_hostname": config.name,
        "mail_root": config.mail.root or "",
        "mail_smarthost": config.mail.smarthost or "",
        **_notebook(config),
        **_of_hosting(config),
        **_grader(config),
        "jail_enabled": config.jail.enabled,
        "sage_source": config.sage.source,
        "sage_lean": config.sage.lean,
        **{
            f"sage_{name}": str(value)
            for name in ("version", "lock", "path", "url", "sha256")
            if (value := getattr(config.sage, name)) is not None
        },
        "unattended_enabled": config.unattended_upgrades.enabled,
        "unattended_origins": list(patterns),
        "unattended_mail": config.unattended_upgrades.mail,
        "unattended_reboot": config.unattended_upgrades.reboot,
        "unattended_reboot_time": config.unattended_upgrades.reboot_time,
    }


def _notebook(config: Config) -> dict[str, Any]:
    notebook = config.notebook
    return {
        "notebook_directory": str(notebook.directory),
        "notebook_port": notebook.port,
        "notebook_sessions_port": notebook.sessions_port,
        "notebook_subdomain_host": notebook.subdomain_host or "",
        "notebook_interface": notebook.interface,
        "notebook_secure": config.https,
        "notebook_timeout": notebook.timeout,
        "notebook_session_expiry": notebook.session_expiry,
        "notebook_accounts": notebook.accounts,
        "notebook_approval": notebook.approval,
        "notebook_ulimit": notebook.ulimit,
        "notebook_title": notebook.title,
        "notebook_classic": config.sage.source == "tarball",
        "notebook_server_pool": list(notebook.server_pool),
        "notebook_sessions": config.sessions,
        "notebook_network": notebook.network,
        "notebook_limits": config.pool.limits.model_dump(),
    }


def _of_hosting(config: Config) -> dict[str, Any]:
    """What is off by default around the notebook."""
    kernels, git, stores = config.kernels, config.git, config.stores
    hosts = (*(git.hosts * git.enabled), *(stores.hosts * stores.enabled))
    reached = tuple(dict.fromkeys(hosts))
    julia = kernels.julia.model_dump(mode="json", exclude_none=True) if kernels.julia else {}
    sign_in = config.sign_in.model_dump(mode="json", exclude_none=True)
    provided = any(getattr(config.sign_in, kind) for kind in ("google", "oidc", "ldap", "lti"))
    return {
        "notebook_record": {
            "version": VERSION,
            "groups": {name: _plain(group) for name, group in config.pool.groups.items()},
            "students": {name: _plain(share) for name, share in config.pool.students.items()},
            "profiles": {
                name: _plain(profile) | {"kernels": list(map(kernel_of, profile.kernels))}
                for name, profile in config.profiles.items()
            },
            "courses": {
                name: {
                    "members": sorted(config.learners(course)),
                    "teachers": list(course.teachers),
                    "quota": course.quota,
                }
                for name, course in config.courses.items()
            },
            "sign_in": sign_in if provided else {},
            "stores": {"every": stores.every} if stores.enabled else {},
            "retention": config.retention.model_dump(),
        },
        "notebook_egress": EGRESS_PORT if reached else 0,
        "egress_squid": egress_proxy(reached) if reached else "",
        "notebook_forked": forks(config),
        "kernels_languages": further(kernels),
        "kernels_julia": julia,
        "kernels_wheels": bool(kernels.python.packages),
        "documentation_books": books.descriptions(config),
        "notebook_books": [book["title"] for book in books.descriptions(config)],
        **({"kernels_wheels_lock": str(kernels.python.lock)} if kernels.python.lock else {}),
        "extensions_names": [
            *(["git"] * git.enabled),
            *(["signin"] * provided),
            *(["stores"] * stores.enabled),
            *(["courses"] * bool(config.courses)),
        ],
    }


def egress_proxy(hosts: Sequence[str]) -> str:
    """The configuration of the proxy between sessions and the servers that they may reach."""
    sessions = Settings(network=tuple(hosts), proxy=f"127.0.0.1:{EGRESS_PORT}")
    return proxy_configuration({"sessions": sessions})


def _plain(section: Section) -> dict[str, Any]:
    """A section as JSON has it, in plain numbers and without what is not given."""
    found: dict[str, Any] = json.loads(json.dumps(section.model_dump(exclude_none=True)))
    return found


def _grader(config: Config) -> dict[str, Any]:
    grader = config.grader
    if not grader.enabled:
        return {"grader_enabled": False}
    limits = grader.limits
    forwarded = any(each.guest == grader.port for each in config.network.forwards.values())
    return {
        "grader_enabled": True,
        "grader_address": "0.0.0.0" if forwarded else "127.0.0.1",  # noqa: S104 (a forward's)
        "grader_port": grader.port,
        "grader_image": next(iter(grader.images)),
        "grader_image_names": list(grader.images),
        "grader_instances": grader.instances,
        "grader_queue": grader.queue,
        "grader_network": list(grader.network),
        "grader_notify_allow": list(grader.notify_allow),
        "grader_limits": {
            "clock": float(limits.clock),
            "cpu": float(limits.cpu),
            "memory": limits.memory,
            "disk": limits.disk,
            "file_size": limits.disk,
            "tasks": limits.tasks,
            "output": limits.output,
        },
    }


def _environment(
    config: Config, epoch: int, ca_bundle: str | None, *, building: bool
) -> Mapping[str, str]:
    """Variables for every command in the guest while it is built; they leave no trace in it."""
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "DEBIAN_FRONTEND": "noninteractive"}
    if config.proxy and not building:  # a build's decides nothing, and comes when it runs
        environment |= dict.fromkeys(("http_proxy", "https_proxy"), config.proxy)
    if ca_bundle:
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        environment |= dict.fromkeys(names, ca_bundle)
    return environment


def _distribution(config: Config, sources: Sequence[SourceLine]) -> list[dict[str, Any]]:
    """One record for each archive: suites of the same address and keyring share one."""
    records: dict[tuple[Any, ...], dict[str, Any]] = {}
    for source in sources:
        record = records.setdefault(
            (source.uri, source.components, source.keyring),
            {
                "name": config.distribution + "-security" * source.suite.endswith("-security"),
                "uris": [source.uri],
                "suites": [],
                "components": list(source.components),
            },
        )
        record["suites"].append(source.suite)
        installed = source.keyring == DISTRIBUTIONS[config.distribution].keyring
        kind = "signed_by" if installed else "key"
        record[kind] = str(source.keyring)
    return list(records.values())


def _further(config: Config) -> list[dict[str, Any]]:
    return [
        {
            "name": source.name,
            "uris": [source.uri],
            "suites": list(source.suites),
            "components": list(source.components),
            "key": str(source.key),
        }
        for source in config.apt_sources
    ]
