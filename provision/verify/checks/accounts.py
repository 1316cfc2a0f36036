"""Accounts, groups, homes, and the keys that open them."""

from provision.config import Config
from provision.verify.registry import Facts, Guest, Problems, check, collector

ADMIN_GROUPS = ("adm", "systemd-journal")


@collector("inside")
def gather(guest: Guest) -> Facts:
    """Everything that one look inside tells; most checks judge this section."""
    config = guest.config
    return guest.script("facts", part="all", admin=config.admin.user, pool=config.pool_accounts)


@check("inside", how="read the account database")
def admin_account(config: Config, facts: Facts) -> Problems:
    """The administrator has an account, is in the pool's group, and may become root."""
    user = config.admin.user
    if user not in facts["accounts"]:
        yield f"there is no account {user}"
        return
    for group in (*ADMIN_GROUPS, config.pool.group):
        if user not in facts["groups"].get(group, ()):
            yield f"{user} is not in {group}"
    if "NOPASSWD: ALL" not in facts["sudo"][user]["told"]:
        yield f"{user} may not run everything by sudo"


@check("inside", how="read the account database")
def pool_accounts(config: Config, facts: Facts) -> Problems:
    """Every pool account is there, with the pool's group as its own, and no other."""
    for name in config.pool_accounts:
        account = facts["accounts"].get(name)
        if account is None:
            yield f"there is no account {name}"
            continue
        if account["group"] != config.pool.group:
            yield f"{name}'s group is {account['group']}"
        for group, members in facts["groups"].items():
            if name in members and group != config.pool.group:
                yield f"{name} is in {group} too"


@check("inside", how="read the account database")
def no_other_accounts(config: Config, facts: Facts) -> Problems:
    """Nobody else can sign in: no further person's account is there."""
    expected = {config.admin.user, *config.pool_accounts, "root"}
    for name, account in facts["accounts"].items():
        shell = account["shell"].rpartition("/")[2]
        if name not in expected and shell not in ("nologin", "false", "sync", ""):
            yield f"{name} has the shell {account['shell']}"


@check("inside", how="look at the kind of each password, root's too")
def no_passwords(config: Config, facts: Facts) -> Problems:
    """Every password is locked."""
    for name, account in facts["accounts"].items():
        if account["password"] != "locked":  # noqa: S105 (a kind of password, not one)
            yield f"{name}'s password is {account['password']}"


@check("inside", how="look at each home's owner and mode")
def homes_private(config: Config, facts: Facts) -> Problems:
    """Every home belongs to its account and is closed to all others (0700)."""
    for name in (config.admin.user, *config.pool_accounts):
        account = facts["accounts"].get(name)
        home = account and account["home_entry"]
        if not home:
            yield f"{name} has no home"
        elif home["mode"] != 0o700 or home["owner"] != account["uid"]:
            yield f"{name}'s home has mode {home['mode']:04o} and owner {home['owner']}"


@check("inside", how="sudo -l as the first pool account")
def pool_is_not_root(config: Config, facts: Facts) -> Problems:
    """A pool account may not become root."""
    for name in config.pool_accounts[:1]:
        if "not allowed" not in facts["sudo"].get(name, {"told": ""})["told"]:
            yield f"sudo does not refuse {name}"


@check("inside", how="the administrator runs ssh nbK@localhost for each")
def admin_reaches_pool(config: Config, facts: Facts) -> Problems:
    """The administrator's own key, made on first boot, opens every pool account."""
    for name in config.pool_accounts:
        answer = facts["pool_sign_ins"].get(name, "no such account")
        if answer.splitlines()[-1:] != [name]:
            yield f"{name}: {answer or 'no answer'}"


@check("inside", how="compare the authorized keys with the configuration")
def admin_keys(config: Config, facts: Facts) -> Problems:
    """The administrator's configured keys, and no others, open the account."""
    present = [" ".join(line.split()[:2]) for line in facts["authorized_keys"]]
    for key in config.admin.keys:
        if " ".join(key.split()[:2]) not in present:
            yield f"the key {key.split()[-1]} is missing"
    most = len(config.admin.keys) or 1  # none configured: the one that was made on the build host
    if len(present) > most:
        yield f"{len(present)} keys open the account instead of {most}"
    if not present:
        yield "no key opens the account"
