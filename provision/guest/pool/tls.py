"""The notebook's certificate: the school's own, or one that is made on first boot.

What an interrupted first boot left is made anew. What somebody put there is never replaced by
ours: it is used, or said to be of no use.
"""

import socket
import ssl
import subprocess
import sys
from pathlib import Path

from provision.guest.whole import flush, keep, locking


def files(directory: Path, subdomain_host: str = "") -> dict[str, str]:
    """The proxy's settings for HTTPS: the files of the key and the certificate.

    Args:
        directory: of ``key.pem`` and ``cert.pem``; made where it is missing.
        subdomain_host: a name that the certificate is to be for, and for all directly below it;
            empty: none.

    Raises:
        SystemExit: what was put there cannot be used.
    """
    key, certificate = directory / "key.pem", directory / "cert.pem"
    directory.mkdir(mode=0o700, exist_ok=True)
    with locking(directory):
        try:
            _complete(key, certificate, subdomain_host)
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError, subprocess.CalledProcessError) as error:
            sys.exit(f"start-notebook: {certificate} and {key} cannot be used together: {error}")
    return {"key": str(key), "certificate": str(certificate)}


def _complete(key: Path, certificate: Path, host: str) -> None:
    """Make what is missing: both, or a certificate for the key that is there, or for the name."""
    told = _text(certificate)
    if cut(told) and not cut(_text(key)):
        _keep_aside(certificate)
        keep(certificate, _certificate(key, host), mode=0o644)
    elif cut(_text(key)) and (cut(told) or _own(certificate)):
        _keep_aside(key, certificate)
        keep(key, _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
        keep(certificate, _certificate(key, host), mode=0o644)
    elif host and not (_is_for(certificate, host) and _is_for(certificate, f"any.{host}")):
        if _own(certificate):
            keep(certificate, _certificate(key, host), mode=0o644)
        else:
            told = f"{certificate} is not for {host} and *.{host}: browsers will refuse sessions"
            sys.stderr.write(f"start-notebook: {told}\n")


def cut(text: str) -> bool:
    """Whether a PEM file is what a power cut leaves of one: nothing, zeros, or its beginning."""
    bare = text.strip(" \t\r\n\0")
    return not bare or (bare.startswith("-----BEGIN ") and "\n-----END " not in bare)


def _text(path: Path) -> str:
    return path.read_bytes().decode("ascii", "replace") if path.exists() else ""


def _keep_aside(*paths: Path) -> None:
    """Nothing that somebody may have put there is lost."""
    for path in paths:
        if _text(path).strip("\0 \n"):
            path.replace(path.with_name(f"{path.name}.unusable"))
            flush(path.parent)


def _own(certificate: Path) -> bool:
    """Whether it is one of ours: who signed it is who it is for, as it says itself."""
    names = _openssl("x509", "-in", str(certificate), "-noout", "-subject", "-issuer")
    subject, issuer = (line.partition("=")[2].strip() for line in names.splitlines()[:2])
    return subject == issuer


def _is_for(certificate: Path, host: str) -> bool:
    words = ("openssl", "x509", "-in", str(certificate), "-noout", "-checkhost", host)
    # Some of its versions end with an error where the name is another.
    return b"does match" in subprocess.run(words, check=False, capture_output=True).stdout


def _certificate(key: Path, host: str) -> str:
    name = socket.gethostname()
    further = f",DNS:{host},DNS:*.{host}" if host else ""
    return _openssl(
        *("req", "-x509", "-key", str(key), "-days", "3650", "-subj", f"/CN={name}"),
        *("-addext", f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1{further}"),
    )


def _openssl(*words: str) -> str:
    done = subprocess.run(["openssl", *words], check=True, capture_output=True, text=True)
    return done.stdout
