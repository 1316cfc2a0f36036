"""``store``: connect Google Drive, S3, WebDAV or Nextcloud to a folder, and keep both alike."""

import argparse
import getpass
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from provision.guest.stores import drive
from provision.guest.stores.rclone import Rclone
from provision.guest.stores.remotes import StoreError, StudentStores
from provision.guest.stores.sync import synchronise

FOLDER = "notebook"


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    options = _parser().parse_args(words)
    stores = StudentStores(Path.home())
    try:
        match options.verb:
            case "connect":
                _connect(stores, options)
            case "disconnect":
                stores.remove(options.name)
                _say(f"{options.name} is forgotten; the files stay, here and there")
            case "list":
                _list(stores)
            case "sync":
                return _sync(stores, options.names or stores.names())
    except (StoreError, OSError) as error:
        _complain(str(error))
        return 1
    return 0


def _connect(stores: StudentStores, options: argparse.Namespace) -> None:
    stores.check(options.name)
    settings, folder = {"type": options.kind}, options.folder
    rclone = Rclone(stores.config)
    if options.kind == "drive":
        client = (options.client_id, _secret("client secret")) if options.client_id else None
        settings |= {"scope": "drive", "token": drive.token(stores.config, client, _browser)}
        if client:
            settings |= {"client_id": client[0], "client_secret": client[1]}
    elif options.kind == "s3":
        folder = f"{options.bucket}/{folder}"
        settings |= {"provider": "Other", "endpoint": options.url, "no_check_bucket": "true"}
        settings |= {"region": options.region} if options.region else {}
        settings["access_key_id"] = _secret("access key")
        settings["secret_access_key"] = _secret("secret key")
    else:
        vendor = "nextcloud" if options.nextcloud else "other"
        settings |= {"url": options.url, "vendor": vendor, "user": options.user}
        settings["pass"] = rclone.obscure(_secret(f"password of {options.user}"))
    store = stores.add(options.name, folder, settings)
    try:
        # S3 knows no folders: what is not there is the bucket.
        if rclone.listing(store.remote) is None and store.kind == "s3":
            raise StoreError(f"there is no bucket {options.bucket}")
    except StoreError as error:
        stores.remove(store.name)
        raise StoreError(f"{store.name} is not connected: {error}") from None
    _say(f"~/{store.name} and {store.remote} are connected; alike by: store sync {store.name}")


def _sync(stores: StudentStores, names: Sequence[str]) -> int:
    failed = 0
    for name in names:
        try:
            outcome = synchronise(stores, name)
        except StoreError as error:
            _complain(str(error))
            failed = 1
            continue
        _say(f"{name}: {outcome}")
        for problem in outcome.problems:
            _complain(f"{name}: {problem}")
            failed = 1
    return failed


def _list(stores: StudentStores) -> None:
    for name in stores.names():
        store, last = stores.get(name), stores.state(name)["last"]
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last["time"])) if last else "never"
        wrong = "; ".join(last["problems"]) if last else ""
        _say(f"{name}\t{store.kind}\t{store.remote}\t{when}\t{wrong or '-'}")


def _browser(address: str) -> str:
    _say(
        "Open this address and allow the access. The browser ends at a page that cannot be\n"
        f"shown; copy that page's address.\n\n{address}\n"
    )
    return input("The address at the end: ")


def _secret(what: str) -> str:
    """Ask for a secret; without a terminal it is a line of standard input."""
    found = getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not found.strip():
        raise StoreError(f"no {what} was given")
    return found.strip("\r\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"store: {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="store", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    connect = verbs.add_parser("connect", help="connect a store to the folder ~/NAME")
    connect.add_argument("name")
    kinds = connect.add_subparsers(dest="kind", required=True)
    for kind in ("drive", "s3", "webdav"):
        here = kinds.add_parser(kind, help="secrets are asked for, never options")
        here.add_argument("--folder", default=FOLDER, help=f"folder there ({FOLDER})")
        if kind == "drive":
            here.add_argument("--client-id", help="the school's own OAuth client")
            continue
        here.add_argument("--url", required=True)
        if kind == "s3":
            here.add_argument("--bucket", required=True)
            here.add_argument("--region")
        else:
            here.add_argument("--user", required=True)
            here.add_argument("--nextcloud", action="store_true")
    verbs.add_parser("list", help="what is connected, and how the last synchronisation went")
    sync = verbs.add_parser("sync", help="make both sides alike; all stores, or those named")
    sync.add_argument("names", nargs="*", metavar="NAME")
    verbs.add_parser("disconnect", help="forget a store").add_argument("name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
