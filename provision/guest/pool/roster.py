"""The command ``notebook-accounts``: who may sign in, from a terminal of the appliance."""

import argparse
import asyncio
import getpass
import json
import os
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from provision.guest import record, typed
from provision.guest.pool.account import read_settings
from provision.guest.pool.accounts import Accounts, Intake
from provision.guest.pool.classlist import ListError, plain, read_list, why_not
from provision.guest.pool.earlier import earlier
from provision.guest.pool.evictions import Evictions, end_sessions
from provision.guest.pool.leases import Leases

STATE = Path("/var/lib/notebook")
HUB = ("127.0.0.1", 8081)
SECONDS = 60.0
EARLIER = "waits: there are files of that name; approve NAME if they are the same student's"
VERBS = {
    "add": "make accounts; the first password at sign-in counts",
    "password": "set a password, read from the terminal or from standard input",
    "approve": "let accounts open that wait",
    "lock": "let names no longer sign in, and end their sessions; the files stay",
    "unlock": "let locked names sign in as before",
    "remove": "forget names, and end their sessions; the files stay",
}


@typed.reporting_damage()
def main(owner: str) -> None:
    """Carry out the command line.

    Args:
        owner: the administrator.

    Raises:
        SystemExit: it cannot be carried out.
    """
    arguments = _parser().parse_args()
    accounts = Accounts(STATE / "accounts.json")
    try:
        data = _data(arguments.file) if arguments.verb == "import" else b""
        if os.geteuid() not in (0, STATE.stat().st_uid):
            sys.exit("notebook-accounts: only for root: sudo notebook-accounts")
        if os.geteuid() == 0:
            state = STATE.stat()
            os.setgroups([])
            os.setgid(state.st_gid)
            os.setuid(state.st_uid)
        if arguments.verb == "list":
            _list(accounts, as_json=arguments.json)
        elif arguments.verb == "import":
            _import(accounts, data, arguments, owner)
        else:
            given = [arguments.name] if arguments.verb == "password" else arguments.names
            names = [_parse_name(each) for each in given]
            _change(accounts, arguments, names, owner)
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"notebook-accounts: {line}" for line in str(error).splitlines()))


def put_out(names: Collection[str], accounts: Collection[str]) -> bool:
    """End the sessions of students who were ordered out, and have the hub do the rest.

    Args:
        names: the students.
        accounts: the pool's entries.

    Returns:
        Whether the hub has done it; False: it will, before it answers anybody again.
    """
    end_sessions(list(names), Leases(STATE / "leases", list(accounts)))
    with socket.socket() as probe:
        up = probe.connect_ex(HUB) == 0
    return up and Evictions(STATE).carried_out(list(names), SECONDS)


def places() -> list[str]:
    """The pool's entries, as the hub leases them."""
    return record.read().accounts


def told(taken: Intake) -> list[str]:
    """What became of a list, in lines for a person."""
    return [
        *(f"added {name}" for name in taken.added if name not in taken.waiting),
        *(f"added {name}: {EARLIER.replace('NAME', name)}" for name in taken.waiting),
        *(f"reset {name}" for name in taken.reset),
        *(f"skipped {name}: {why}" for name, why in taken.skipped.items()),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="notebook-accounts", description="Students' accounts.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("list", help="show all names")
    load = verbs.add_parser(
        "import",
        help="make the accounts of a class list",
        description="Make the accounts of a list of lines name[,password], or with a header that"
        " names its columns. Who is there already is skipped and said.",
    )
    load.add_argument("file", help="- is standard input")
    load.add_argument(
        "--reset-passwords",
        action="store_true",
        help="give those who are there the list's passwords; it ends their sessions",
    )
    load.add_argument("--encoding", default="", help="of the file, if not UTF-8 or UTF-16")
    load.add_argument(
        "--make-names",
        action="store_true",
        help="make names of what cannot be one: small letters, ä becomes ae, accents go, blanks"
        " become dots; they are shown, and asked for",
    )
    load.add_argument("--yes", action="store_true", help="do not ask for the names that are made")
    for verb in (show, load):
        verb.add_argument("--json", action="store_true", help="print one JSON document")
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text)
        if name == "password":
            verb.add_argument("name")
        else:
            verb.add_argument("names", nargs="+", metavar="name")
    for verb in (verbs.choices["add"], load):
        verb.add_argument(
            "--same-students",
            action="store_true",
            help="names with files from before are the same students': they need not wait",
        )
    return parser


def _list(accounts: Accounts, *, as_json: bool) -> None:
    names, locked, waiting = accounts.names(), accounts.locked(), accounts.waiting()
    if as_json:
        _say(json.dumps({"users": names, "locked": locked, "waiting": waiting}))
        return
    for name in names:
        marks = ["locked"] * (name in locked) + ["waits for approval"] * (name in waiting)
        _say(name + f" ({', '.join(marks)})" * bool(marks))


def _data(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _import(accounts: Accounts, data: bytes, arguments: argparse.Namespace, admin: str) -> None:
    try:
        found = read_list(data, encoding=arguments.encoding, make_names=arguments.make_names)
    except ListError as error:
        lines = [f"{arguments.file}: {line}" for line in str(error).splitlines()]
        raise ValueError("\n".join([*lines, "nothing was imported"])) from None
    for written, name in (found.made_names() if arguments.make_names else {}).items():
        print(f"{written} -> {name}", file=sys.stderr)  # noqa: T201 - a program
    ask = arguments.make_names and found.made_names() and not arguments.yes
    if ask and not (sys.stdin.isatty() and input("Make these names? [y/N] ").lower() == "y"):
        raise ValueError("nothing was imported; with --yes these names are made")
    for column in found.unused:
        print(f"not used: column {column}", file=sys.stderr)  # noqa: T201 - a program
    wanted = found.passwords()
    new = [name for name in wanted if name not in accounts.names()]
    taken = accounts.take(
        wanted,
        waiting=_earlier(new, same=arguments.same_students),
        untouchable=[admin],
        reset=arguments.reset_passwords,
    )
    out = put_out(taken.reset, places()) if taken.reset else True
    if arguments.json:
        _say(json.dumps({**vars(taken), "put_out": out}))
        return
    for line in told(taken):
        _say(line)
    _say_whether(out)


def _change(
    accounts: Accounts, arguments: argparse.Namespace, names: list[str], admin: str
) -> None:
    """Carry out a verb on names: all of them, or none where one is refused."""
    verb = arguments.verb
    if verb in ("lock", "remove") and admin in names:
        raise ValueError(f"{admin} administers this notebook")
    unknown = [name for name in names if name not in accounts.names()]
    if unknown and verb not in ("add", "password"):
        raise ValueError(f"there is no account {', '.join(map(repr, unknown))}")
    if verb == "add" or (verb == "password" and unknown):
        password = _password() if verb == "password" else None
        waiting = _earlier(names, same=getattr(arguments, "same_students", False))
        wanted = dict.fromkeys(names, password)
        for line in told(accounts.take(wanted, waiting=waiting, untouchable=[admin])):
            _say(line)
        return
    if verb == "password":
        accounts.set_password(names[0], _password())
        if names[0] in accounts.locked():
            _say(f"{names[0]} is locked, and stays so: notebook-accounts unlock {names[0]}")
    else:
        action: dict[str, Callable[[str], None]] = {
            "approve": accounts.approve,
            "lock": accounts.lock,
            "unlock": accounts.unlock,
            "remove": accounts.remove,
        }
        for name in names:
            action[verb](name)
    if verb in ("password", "lock", "remove"):
        _say_whether(put_out(names, places()))


def _say_whether(out: bool) -> None:
    if not out:
        _say("The hub does not answer: before it does, browsers that are signed in are put out.")


def _parse_name(written: str) -> str:
    """A name as sign-in reads it."""
    if why := why_not(written):
        raise ValueError(why.removesuffix(", or --make-names"))
    return plain(written)


def _earlier(names: Collection[str], *, same: bool) -> set[str]:
    if same or not names:
        return set()
    return asyncio.run(earlier(names, read_settings().directory, STATE))


def _password() -> str:
    asked = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline()
    return asked.rstrip("\r\n")


def _say(line: str) -> None:
    print(line)  # noqa: T201 - a program
