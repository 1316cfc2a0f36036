"""An exam: what its session does without, what is handed in at its end, what is left of it."""

from provision.build.variables import EGRESS_PORT
from provision.config import Config
from provision.verify.registry import Facts, Guest, Problems, check, collector

# What a made-up student has before; who does not see it then would not see it in an exam either.
OWN = "own files"
BEFORE = (
    *(OWN, "what was left in memory", "a process from before", "the course's files"),
    *("another's socket", "a terminal", "another kernel", "the program ssh"),
)


@collector("exam")
def gather(guest: Guest) -> Facts | None:
    """A made-up student of a made-up course writes an exam; None where there are no courses."""
    config = guest.config
    if not config.pool_accounts or not config.courses:
        return None
    return guest.script("exam", directory=config.notebook.directory, egress=EGRESS_PORT)


@check("exam", how="hold one: look in its session for what was laid up before")
def exam_alone(config: Config, facts: Facts) -> Problems:
    """An exam ends the session before it, and its own has nothing but the exam."""
    yield from (f"{each} is not seen before it" for each in BEFORE if each not in facts["before"])
    if not facts["begun"]:
        yield "the session before it goes on"
    if not facts["paper"]:
        yield "its session has not what is handed out"
    if facts["kernels"] != ["python3"]:
        yield f"its session offers the kernels {', '.join(facts['kernels']) or 'none'}"
    if not facts["closed"]:
        yield "the firewall lets its session out"
    yield from (f"its session has {each}" for each in facts["during"])


@check("exam", how="hold one: save a notebook, take the time away, change what was handed in")
def exam_handed_in(config: Config, facts: Facts) -> Problems:
    """At an exam's end the session ends, what is saved is handed in, and a change is noticed."""
    for key, says in (
        ("ended", "the session goes on"),
        ("handed", "what was saved is not handed in"),
        ("unchanged", "what was handed in is not as it was"),
        ("noticed", "a changed hand-in is not noticed"),
    ):
        if not facts[key]:
            yield says


@check("exam", how="hold one, come back afterwards, and remove all of it")
def exam_over(config: Config, facts: Facts) -> Problems:
    """After an exam the student has all back, and the check leaves nothing of it behind."""
    if OWN not in facts["after"]:
        yield f"the {OWN} are gone"
    if not facts["opened"]:
        yield "the firewall keeps the account closed"
    yield from (f"{each} is left" for each in facts["left"])
