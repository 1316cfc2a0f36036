"""A file from a web address into a student's files: what a link of the teacher's asks for.

Runs in the session, so it reaches what the session reaches, through the same proxy, and is held by
the same limits.
"""

import errno
import http.client
import os
import resource
import shutil
import string
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tornado.template import Template

DENIED = "your notebook may not reach this address; ask your teacher"
SECONDS = 60  # that a server may say nothing
_WHY = {
    errno.EFBIG: "it is larger than one file may be here",
    errno.EDQUOT: "there is not enough left of your disk space",
    errno.ENOSPC: "there is not enough left of your disk space",
}


class DownloadError(Exception):
    """Why there is no file, in words for a student."""


def name_of(url: str) -> str:
    """The name that an address gives to its file.

    Raises:
        DownloadError: it is no address of the web.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
    except ValueError:
        raise DownloadError(f"{url!r} is not an address http://… or https://…") from None
    name = unquote(parts.path.rstrip("/").rpartition("/")[2])
    return name if is_name(name) else "download"


def is_name(name: str) -> bool:
    """Whether a file can have this name."""
    return (
        name not in ("", ".", "..")
        and not {"/", "\0"} & set(name)
        and len(os.fsencode(name)) < 200  # with what is put around it while it comes
    )


def download(url: str, folder: Path, name: str = "") -> Path:
    """Bring a file; what is there is never replaced.

    Args:
        url: http or https.
        folder: where to put it.
        name: for the file; empty: the address's own.

    Returns:
        The new file; its name has a number where the name was taken.

    Raises:
        DownloadError: it did not come whole.
    """
    own = name_of(url)
    if name and not is_name(name):
        raise DownloadError(f"{name!r} is not a name of a file")
    # Not urlopen: it opens files, too.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
    ):
        opener.add_handler(handler)
    try:
        with (
            opener.open(quote(url, safe=string.punctuation), timeout=SECONDS) as answer,
            tempfile.NamedTemporaryFile(dir=folder, prefix=".download-") as part,
        ):
            _check_size(answer.headers.get("Content-Length"), folder)
            shutil.copyfileobj(answer, part)
            part.flush()
            if answer.length:  # what was announced and did not come
                raise DownloadError("the server ended too early")
            return _keep(Path(part.name), folder, name or own)
    except urllib.error.HTTPError as error:
        denied = error.code == http.HTTPStatus.FORBIDDEN and "X-Squid-Error" in error.headers
        raise DownloadError(
            DENIED if denied else f"the server answers {error.code} {error.reason}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        number = getattr(error, "errno", None)
        denied = "Tunnel connection failed: 403" in str(error)
        raise DownloadError(
            DENIED if denied else _WHY.get(number or 0) or f"it did not come: {error}"
        ) from None


def _check_size(announced: str | None, folder: Path) -> None:
    """Refuse early what cannot fit."""
    size = int(announced or 0)
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest != resource.RLIM_INFINITY and size > largest:
        raise OSError(errno.EFBIG, "")
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, "")


def _keep(part: Path, folder: Path, name: str) -> Path:
    stem, dot, suffix = name.rpartition(".")
    number = 1
    while True:
        extra = f" ({number})" if number > 1 else ""
        target = folder / (f"{stem}{extra}.{suffix}" if stem and dot else f"{name}{extra}")
        try:
            os.link(part, target)
        except FileExistsError:
            number += 1
        else:
            target.chmod(0o600)
            return target


def page(form: bytes, lab: str, url: str, name: str, wrong: str) -> bytes:
    """The page as HTML.

    Args:
        form: a hidden field that every form has to have.
        lab: the address of the notebook.
        url: what the link asks for; empty: the student writes it.
        name: for the file.
        wrong: why the last time failed; empty: it did not.
    """
    return _PAGE.generate(form=form, lab=lab, url=url, name=name, wrong=wrong)


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A file from the web</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 1rem auto; padding: 0 1rem; }
  label { display: flex; flex-direction: column; margin: .6rem 0; font-size: .9rem; }
  input { font: inherit; padding: .3rem; } button { font: inherit; padding: .3rem .8rem; }
  .wrong { color: #b00020; overflow-wrap: anywhere; }
</style></head><body>
<p><a href="{{ lab }}">Back to the notebook</a></p>
<h1>A file from the web</h1>
<p>The file is put among your own; nothing that you have is replaced. A program or notebook from the web
runs as you: take it only from somebody whom you trust.</p>
{% if wrong %}<p role="alert" class="wrong">{{ wrong }}</p>{% end %}
<form method="post">{% raw form %}
  <label>Address <input name="url" type="url" required value="{{ url }}" placeholder="https://"></label>
  <label>Name <input name="name" value="{{ name }}" placeholder="as in the address"></label>
  <button>Get it</button></form>
</body></html>
""")  # noqa: E501
