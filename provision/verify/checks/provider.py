"""The school's own sign-in: whom its rules let in."""

from provision.config import Config
from provision.verify.registry import Facts, Guest, Problems, check, collector


@collector("provider")
def gather(guest: Guest) -> Facts:
    """Let the appliance judge made-up people; nothing is asked of the provider itself."""
    sign_in = guest.config.sign_in
    return guest.script("provider") if sign_in.google or sign_in.oidc else {}


@check("provider", how="give its rules what a provider might say of made-up administrators")
def providers_rules_kept(config: Config, facts: Facts) -> Problems:
    """The school's sign-in lets in its own domains and groups, by verified addresses only."""
    if not (config.sign_in.google or config.sign_in.oidc):
        return
    if not facts["known"]:
        yield "nobody of the school is let in"
    yield from (f"it lets in who is {each}" for each in facts["strangers"])
