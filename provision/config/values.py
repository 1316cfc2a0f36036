"""Names, addresses and files that a configuration holds, each with its rule and the mend."""

import base64
import binascii
import difflib
import ipaddress
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema

_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*", re.IGNORECASE | re.ASCII)
_SYSTEM_ACCOUNTS = (
    *("root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp"),
    *("proxy", "www-data", "backup", "list", "irc", "nobody", "sshd", "messagebus", "polkitd"),
    *("sudo", "adm", "users", "staff", "shadow", "utmp", "postfix", "docker"),
)
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def _kind(name: str, **rules: str) -> WithJsonSchema:
    """How the JSON Schema and the reference name this kind of text."""
    return WithJsonSchema({"type": "string", "format": name, **rules})


def _matching(kind: str, pattern: str, complaint: str) -> tuple[AfterValidator, WithJsonSchema]:
    """A whole-text pattern, the kind of value it describes and what to say of any other."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(complaint)
        return value

    return AfterValidator(check), _kind(kind, pattern=f"^{pattern}$")


def _account(value: str) -> str:
    if value in _SYSTEM_ACCOUNTS:
        raise ValueError("this name belongs to the system; choose another")
    return value


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("not an address; write one as in 0.0.0.0 or 127.0.0.1") from None
    return value


def _mount_point(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("not an absolute path; begin it with /")
    parts = value.split("/")[1:]
    if value != "/" and (any(part in ("", ".", "..") for part in parts)):
        raise ValueError("not a plain path; leave out //, ., .. and the final /")
    if not re.fullmatch(r"[A-Za-z0-9/._-]+", value, re.ASCII):
        raise ValueError("use only letters, digits, . _ - and /")
    return value


def _host_port(value: str) -> str:
    host, colon, port = value.partition(":")
    if not _DNS_NAME.fullmatch(host) or (colon and not (port.isascii() and port.isdigit())):
        raise ValueError("not a mail server; write host or host:port")
    if colon and not 1 <= int(port[:6]) <= 65535:
        raise ValueError("not a port; write a number from 1 to 65535")
    return value


def _base(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("base", "."))


def host_path(value: Any, info: ValidationInfo) -> Path:
    """An absolute path on this host; a relative one is taken from the file's own directory."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("not a path; write the name of a file")
    try:
        return Path(_base(info).resolve() / Path(value).expanduser())
    except (RuntimeError, ValueError):
        raise ValueError("not a path that this host can read") from None


def _existing(what: str, test: Callable[[Path], bool]) -> AfterValidator:
    def check(path: Path) -> Path:
        try:
            found = test(path)
        except (OSError, ValueError):
            found = False
        if not found:
            raise ValueError(f"there is no {what} {path}")
        return path

    return AfterValidator(check)


def _path_or_url(value: str, info: ValidationInfo) -> str:
    if re.match(r"https?://", value):
        return value
    path = host_path(value, info)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; write a path or an http(s) URL")
    return str(path)


def _public_key(value: str, info: ValidationInfo) -> str:
    """The public keys of one entry, one a line: the entry itself, or the file it names."""
    text = value.strip()
    if text.startswith("-----BEGIN"):
        raise ValueError("this is a private key; give the public one, the file that ends in .pub")
    if not text.startswith(_KEY_TYPES):
        path = host_path(text, info)
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise ValueError(
                f"neither a public key nor a file: {path}; make one with ssh-keygen -t ed25519"
            ) from None
        except (OSError, ValueError):
            raise ValueError(f"cannot read {path} as text") from None
        if text.startswith("-----BEGIN"):
            raise ValueError(f"{path} is a private key; give the file that ends in .pub")
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ValueError("holds no key")
    for key in keys:
        _check_key(key)
    return "\n".join(keys)


def _check_key(line: str) -> None:
    """Refuse what sshd would silently ignore: the blob must name the type before it (RFC 4253)."""
    kind, _, rest = line.partition(" ")
    blob = rest.split(" ")[0]
    if kind not in _KEY_TYPES:
        raise ValueError(f"not an SSH public key; it must begin with {', '.join(_KEY_TYPES[:3])}…")
    try:
        data = base64.b64decode(blob, validate=True)
        (length,) = struct.unpack_from(">I", data)
    except (binascii.Error, struct.error, ValueError):
        raise ValueError("the key is damaged; copy its whole line again") from None
    if data[4 : 4 + length] != kind.encode() or len(data) < 4 + length + 32:
        raise ValueError("the key is damaged or cut off; copy its whole line again")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the nearest of the known words, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


HostName = Annotated[
    str,
    *_matching(
        "host name",
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
        "not a host name; use small letters, digits and inner hyphens, at most 63",
    ),
]
RecordName = Annotated[
    str,
    *_matching(
        "name",
        r"[a-z][a-z0-9_-]{0,30}",
        "not a name; begin with a small letter, then letters and digits",
    ),
]
AllowedHost = Annotated[
    str,
    *_matching(
        "host",
        rf"\.?{_HOST_LABEL}(?:\.{_HOST_LABEL})*(?::[0-9]{{1,5}})?",
        "not a host; write pypi.org, .debian.org for all below it, or cache.example.org:8081",
    ),
]
PythonPackage = Annotated[
    str,
    *_matching(
        "PyPI package",
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:==[0-9A-Za-z.!+]+)?",
        "not a PyPI package; write numpy or numpy==2.1.0",
    ),
]
Version = Annotated[
    str,
    *_matching(
        "version", r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}", "not a version; write one as in 1.0"
    ),
]
Suite = Annotated[
    str,
    *_matching("suite", r"[a-z][a-z0-9.-]{0,40}", "not a suite; write its code name, as in trixie"),
]
Url = Annotated[
    str,
    *_matching(
        "URL",
        r"(?:https?|file)://[^\s/?#@]*(?:/[^\s]*)?",
        "not a URL; begin it with http://, https:// or file:// and keep passwords out",
    ),
]
ProxyUrl = Annotated[
    str,
    *_matching(
        "URL",
        r"https?://[^\s/?#@]+/?",
        "not a proxy; write http://HOST:PORT; user and password go into the environment,"
        " http_proxy=http://USER:PASSWORD@HOST:PORT",
    ),
]
FileName = Annotated[
    str,
    *_matching(
        "file name", r"[a-z0-9][a-z0-9._-]{0,60}", "not a file name; use letters, digits and . _ -"
    ),
]
PackageName = Annotated[
    str,
    *_matching(
        "package",
        r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?",
        "not a package name; use small letters and digits",
    ),
]
Sha256 = Annotated[
    str,
    *_matching("SHA-256", r"[0-9a-f]{64}", "not a SHA-256 checksum; write 64 hexadecimal digits"),
]
Locale = Annotated[
    str,
    *_matching(
        "locale",
        r"(?:C|[a-z]{2,3}_[A-Z]{2})\.UTF-8(?:@[a-z]+)?",
        "not a UTF-8 locale; write one as in en_US.UTF-8",
    ),
]
Keyboard = Annotated[
    str,
    *_matching("layout", r"[a-z]{2,8}", "not a keyboard layout; write its code, as in us or de"),
]
TimeOfDay = Annotated[
    str,
    *_matching(
        "time of day", r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", 'not a time of day; write "HH:MM"'
    ),
]
MailAddress = Annotated[
    str,
    *_matching(
        "mail address", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+", "not a mail address; write user@host"
    ),
]
UserAtHost = Annotated[
    str,
    *_matching(
        "user@host or user@host:port",
        r"[a-z_][a-z0-9_-]{0,31}@[A-Za-z0-9.-]+(:[0-9]{1,5})?",
        "not an account; write user@host or user@host:port",
    ),
]
Ulimit = Annotated[
    str,
    *_matching(
        "options of ulimit",
        r"(-[cfnstuv] [0-9]+( -[cfnstuv] [0-9]+)*)?",
        "not options of ulimit; write pairs of -c -f -n -s -t -u -v and a number, as in -u 100",
    ),
]
Title = Annotated[
    str,
    *_matching(
        "one line of text", r"[^\x00-\x1f]{0,100}", "write one line of at most 100 characters"
    ),
]
StudentName = Annotated[
    str,
    *_matching(
        "student",
        r"[a-z0-9][a-z0-9._@+-]{0,63}",
        "not a student's name; use small letters, digits and . _ @ + -",
    ),
]
Domain = Annotated[
    str,
    *_matching(
        "domain",
        rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})+",
        "not a domain; write one as in example.org",
    ),
]
SubdomainHost = Annotated[
    str,
    *_matching(
        "domain",
        # With the longest label before it, it is still a name of DNS; and it is no address.
        rf"(?=[^\n]{{1,180}}$)(?:{_HOST_LABEL}\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?",
        "not a name that has names below it; write one as in sage.example.org, in small letters,"
        " without https://, port or *",
    ),
]
Word = Annotated[
    str, *_matching("word", r"[^\s\x00-\x1f]{1,200}", "write one word, without spaces")
]
AccountName = Annotated[
    str,
    *_matching(
        "account",
        r"[a-z][a-z0-9_-]{0,30}",
        "not an account name; use small letters, digits, _ and -",
    ),
    AfterValidator(_account),
]
AccountPrefix = Annotated[
    str,
    *_matching(
        "prefix", r"[a-z](?:[a-z0-9_-]{0,14}[a-z_-])?", "use small letters; end in no digit"
    ),
]
Timezone = Annotated[
    str,
    *_matching(
        "time zone",
        r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*",
        "not a time zone; write one as in Europe/Berlin",
    ),
]
Address = Annotated[str, AfterValidator(_address), _kind("address")]
MountPoint = Annotated[str, AfterValidator(_mount_point), _kind("path in the guest", pattern="^/")]
HostPort = Annotated[str, AfterValidator(_host_port), _kind("host:port")]
PathOrUrl = Annotated[str, AfterValidator(_path_or_url), _kind("file or URL")]
PublicKey = Annotated[str, AfterValidator(_public_key), _kind("public key or file")]
HostFile = Annotated[
    Path, BeforeValidator(host_path), _existing("file", Path.is_file), _kind("file")
]
HostDirectory = Annotated[
    Path, BeforeValidator(host_path), _existing("directory", Path.is_dir), _kind("directory")
]
