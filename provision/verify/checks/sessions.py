"""Sessions that the hub starts: what a token opens, what a killed hub takes along, guessing."""

import math

from provision.config import Config, books
from provision.verify.registry import Facts, Guest, Problems, check, collector


@collector("sessions")
def gather(guest: Guest) -> Facts | None:
    """Two made-up students sign in; None where the school's own provider signs students in."""
    config = guest.config
    sign_in = config.sign_in
    if not config.pool_accounts or sign_in.google or sign_in.oidc or sign_in.ldap:
        return None
    return guest.script(
        "sessions",
        admin=config.admin.user,
        port=config.notebook.port,
        sessions_port=config.notebook.sessions_port,
        directory=config.notebook.directory,
        secure=config.https,
        documentation=books.selection(config),
    )


@check("sessions", how="ask the hub and the servers with one student's token for another's")
def tokens_private(config: Config, facts: Facts) -> Problems:
    """The token of a session, and of a student, opens nothing of another's or of the hub's."""
    if not facts["own"]:
        yield "a session's token does not open its own server"
    yield from (f"it may {each}" for each in facts["opened"])


@check("sessions", how="ask for the administrator's pages as a student")
def classroom_closed(config: Config, facts: Facts) -> Problems:
    """No student sees the classroom's page, its logs or the hub's administration."""
    yield from (f"a student opens {each}" for each in facts["classroom"])


@check("sessions", how="ask for the sign-in page as a page of another address does")
def foreign_pages_refused(config: Config, facts: Facts) -> Problems:
    """The hub answers no page of another address."""
    yield from (f"it answers {method}" for method in facts["foreign"])


@check("sessions", how="ask for a running session, and for the hub at its port, without a ticket")
def sessions_apart(config: Config, facts: Facts) -> Problems:
    """Sessions have an origin of their own, which only the hub's tickets open."""
    yield from facts["apart"]


@check("sessions", how="open each book in a session, and search")
def documentation_opens(config: Config, facts: Facts) -> Problems:
    """The documentation that was asked for opens in a session, and the search finds in it."""
    yield from facts["documentation"]


@check("sessions", how="ask with the token for metrics for all else")
def metrics_token_narrow(config: Config, facts: Facts) -> Problems:
    """The token with which metrics are read opens nothing else, and they need it."""
    yield from facts["metrics"]


@check("sessions", how="sign in as the administrator with a made-up password")
def nobody_is_first(config: Config, facts: Facts) -> Problems:
    """Nobody becomes the administrator by being the first to sign in."""
    if facts["admin"] not in (403, 429):
        yield f"it answers {facts['admin']}"


@check("sessions", how="import a list of all who are there, the administrator among them")
def lists_only_add(config: Config, facts: Facts) -> Problems:
    """A class list changes no password, lock or wait of who is there, and says so."""
    yield from (f"it changes {name}, or says nothing" for name in facts["changed"])


@check("sessions", how="sign in as the administrator, and change what needs the password again")
def password_asked_again(config: Config, facts: Facts) -> Problems:
    """An administrator's open browser changes no token, name or account without the password."""
    for what, status in facts["confirmed"].items():
        if status != (200 if what == "sign-in" else 403):
            yield f"{what}: it answers {status}"


@check("sessions", how="start two sessions, and look at who holds the leases' files")
def leases_exclusive(config: Config, facts: Facts) -> Problems:
    """No two students hold one account; a lease lasts as long as its session's process."""
    leased = facts["leased"]
    if not leased["both"] or len(leased["students"]) < 2:
        yield f"two sessions are {' and '.join(leased['students']) or 'none'}"
    yield from (f"nobody holds the lease on {account}" for account in leased["loose"])


@check("sessions", how="start with a profile that is gone, then with closed files")
def way_in_kept(config: Config, facts: Facts) -> Problems:
    """No student closes the own way in for good, by a choice that is gone or by chmod."""
    if facts["way_in"]["gone"] != 400:
        yield f"a profile that is gone: it answers {facts['way_in']['gone']}"
    if not facts["way_in"]["opens"]:
        yield "no session opens afterwards"


@check("sessions", how="lock a student who has a session, a cookie and a token")
def locked_is_out(config: Config, facts: Facts) -> Problems:
    """Who is locked has no session, cookie or token any more."""
    if not facts["closed"]["open"]:
        yield "the student did not come in before"
    yield from (f"the {each} goes on" for each in facts["closed"]["left"])


@check("sessions", how="come with the name of a student who was removed")
def names_with_files_wait(config: Config, facts: Facts) -> Problems:
    """A name that had files is not given to whoever comes first with it."""
    if facts["closed"]["stranger"] != 403:
        yield f"it answers {facts['closed']['stranger']}"


@check("sessions", how="kill the hub while a student's server runs")
def hub_killed(config: Config, facts: Facts) -> Problems:
    """A killed hub comes back, and no session and no account's lease is lost or left over."""
    for key, says in (
        ("hub_back", "the hub does not come back"),
        ("held", "the account was free at once"),
        ("kept", "the session is another, or gone"),
        ("given_back", "the account stays leased when its session ends"),
    ):
        if not facts["outlived"][key]:
            yield says


@check("sessions", how="read the files of the hub's tokens and passwords")
def secrets_whole(config: Config, facts: Facts) -> Problems:
    """The hub's secrets are there, and none is empty or cut off."""
    yield from (f"{name} holds none" for name in facts["lost"])


@check("sessions", how="sign in where one did before, while others type wrong passwords")
def owner_gets_in(config: Config, facts: Facts) -> Problems:
    """Who guesses a student's password elsewhere does not lock out the student."""
    if facts["owner"] != 200:
        yield f"it answers {facts['owner']}"


@check("sessions", how="type wrong passwords for many names from one address")
def address_slowed(config: Config, facts: Facts) -> Problems:
    """Who guesses at many names is slowed down; who has the password at that address gets in."""
    if not facts["crowd"]["slowed"]:
        yield "an address may guess without end"
    if facts["crowd"]["classmate"] != 200:
        yield f"to the right password it answers {facts['crowd']['classmate']}"


@check("sessions", how="type wrong passwords, one after the other and many at once")
def guessing_stopped(config: Config, facts: Facts) -> Problems:
    """Wrong passwords lock a name out for a while."""
    # In an emulated guest they take so long that the first waits, of 1, 2, 4 seconds, are over.
    if facts["at_once"] > 5 + int(math.log2(facts["at_once_seconds"] + 1)):
        yield f"{facts['at_once']} of those typed at once were tried"
    if facts["tries"] is None:
        yield "one may go on guessing"
    elif facts["tries"] < 5:
        yield f"already {facts['tries']} wrong passwords lock a student out"
