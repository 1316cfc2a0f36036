"""The package archive that a base is made from: which mirror, and in which state."""

import hashlib
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from provision.config.architectures import Name as ArchName
from provision.config.architectures import of_this_host
from provision.config.distributions import DISTRIBUTIONS, Name
from provision.errors import ConfigError, HostNotReadyError
from provision.jeos.proxy import Proxy

APT_LISTS = Path("/var/lib/apt/lists")
TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class SourceLine:
    """One line of a sources.list.

    Args:
        uri: the archive's address.
        suite: as under dists/, for example ``trixie-security``.
        components: for example ``main``.
        keyring: the file with the keys that may sign it.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: Path

    def line(self, keyring: Path | str | None = None) -> str:
        """The source in one-line style, signed by ``keyring`` or else our own."""
        signed = f"[signed-by={keyring or self.keyring}]"
        return " ".join(("deb", signed, self.uri, self.suite, *self.components))


@dataclass(frozen=True)
class Release:
    """The state of the archive, read from the Release files of all its sources.

    Args:
        packages: digest over the package indexes: the same digest, the same packages.
        epoch: when the suite itself was published, in seconds since 1970; the build's clock.
    """

    packages: str
    epoch: int


def sources(
    distribution: Name,
    suite: str,
    mirror: str | None,
    keyring: Path | None = None,
    *,
    arch: ArchName = "amd64",
) -> tuple[SourceLine, ...]:
    """The suite with its updates and security fixes.

    Args:
        distribution: debian or ubuntu.
        suite: the release's code name.
        mirror: where to load from; None: this host's own mirror when it runs the same
            distribution, else the distribution's default.
        keyring: other than the distribution's own.
        arch: of the packages. A host of another one names no mirror by its own sources where the
            distribution keeps architectures apart.
    """
    known = DISTRIBUTIONS[distribution]
    usual, fixes = known.mirrors(arch)
    apart = bool(known.ports) and arch != of_this_host()
    local = host_mirrors(distribution) if mirror is None and not apart else {}
    main = mirror or local.get("main") or usual
    security = local.get("security") or fixes
    wanted = [(main, suite)]
    if suite not in known.rolling:
        wanted += [(main, f"{suite}-updates"), (security, f"{suite}-security")]
    return tuple(SourceLine(*each, known.components, keyring or known.keyring) for each in wanted)


def identity(found: Sequence[SourceLine]) -> str:
    """A name for a set of sources, the same wherever its keyrings are."""
    return " ".join(source.line("-") for source in found)


def host_mirrors(distribution: str) -> dict[str, str]:
    """Where this host's own apt loads the distribution from, by role: main, security."""
    try:
        # Not indextargets: that reads every package's entry where apt keeps no cache of them.
        argv = ["apt-get", "--print-uris", "update"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = {}
    for uri, name in re.findall(r"^'(https?://\S+)/dists/\S+/InRelease' (\S+)", text, re.MULTILINE):
        try:
            signed = (APT_LISTS / name).read_text()
        except OSError:
            continue  # never loaded
        told = dict(re.findall(r"^(Origin|Label): (.+)$", signed, re.MULTILINE))
        if told.get("Origin", "").lower() == distribution:
            security = "security" in told.get("Label", "").lower() or "security" in uri
            found.setdefault("security" if security else "main", uri)
    return found


def read_release(
    found: Sequence[SourceLine], *, arch: ArchName = "amd64", proxy: Proxy | None = None
) -> Release:
    """Ask the mirror for the state of every source, without loading its package indexes.

    Signatures are apt's work when it loads the packages; a forged answer here can only make
    a build happen, or not happen, that then fails.

    Raises:
        HostNotReadyError: a mirror does not answer.
        ConfigError: it answers, but has no such suite.
    """
    opener = (proxy or Proxy()).opener()
    digest = hashlib.sha256()
    epoch = 0
    for source in found:
        url = f"{source.uri}/dists/{source.suite}/InRelease"
        try:
            with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
                text = answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise ConfigError(
                    f"{source.uri} has no suite {source.suite!r}",
                    hint="check `suite:` and `mirror:` in appliance.yml",
                ) from error
            raise _unreachable(url, error) from error
        except (OSError, ValueError) as error:
            raise _unreachable(url, error) from error
        digest.update(f"{source.line('-')}\n".encode())
        for component in source.components:
            name = rf"{component}/binary-{arch}/Packages"
            match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {name}$", text, re.MULTILINE)
            if match is None:
                raise ConfigError(
                    f"{url} lists no {arch} packages for component {component!r}",
                    hint="check `mirror:` in appliance.yml",
                )
            digest.update(f"{component} {match[1]}\n".encode())
        if not epoch and (date := re.search(r"^Date: (.+)$", text, re.MULTILINE)):
            epoch = int(parsedate_to_datetime(date[1]).timestamp())
    return Release(digest.hexdigest(), epoch)


def _unreachable(url: str, error: Exception) -> HostNotReadyError:
    return HostNotReadyError(
        f"the mirror does not answer: {url}: {error}",
        hint="check the network, `mirror:` and `proxy:`; `--offline` builds from the cache only",
    )
