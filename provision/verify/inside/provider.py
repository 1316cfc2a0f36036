"""Facts about the school's own sign-in, gathered inside the guest as root.

The hub's own authenticator, with the appliance's settings, judges what a provider might say of
administrators that there are not.
"""

import json
import subprocess
import sys

JUDGE = """
import asyncio, json, sys
from pathlib import Path
from tornado.web import HTTPError
from provision.guest.hub import sign_in

wanted = json.loads(Path("/etc/notebook/guest.json").read_text())["sign_in"]
kind = "google" if wanted.get("google") else "oidc"
rules = wanted[kind]
domains, groups = rules.get("domains"), rules.get("groups")
config = sign_in.configure(wanted, Path("/var/lib/notebook"))
authenticator = {"google": sign_in.Google, "oidc": sign_in.Oidc}[kind](config=config)
VERIFIED = ("email_verified", "verified_email")

def said(domain, **more):
    address = f"verify@{domain}"
    told = {"sub": "verify", "email": address, "hd": domain, **dict.fromkeys(VERIFIED, True)}
    told.setdefault(rules.get("username", "email"), "verify")
    return {**told, rules.get("groups_claim", "groups"): (groups or ["any"])[:1], **more}

async def admitted(told):
    name = authenticator.normalize_username(authenticator.user_info_to_username(told))
    state = {authenticator.user_auth_state_key: told}
    try:
        model = {"name": name, "admin": True, "auth_state": state}
        model = await authenticator.update_auth_model(model)
        if not authenticator.check_blocked_users(name, model):
            return False
        return bool(await authenticator.check_allowed(name, {**model, "admin": True}))
    except (HTTPError, KeyError):  # the latter is answered by 500
        return False

async def main():
    home = (domains or ["school.invalid"])[0]
    tried = {}
    if domains:
        tried["of another domain"] = said("elsewhere.invalid")
    if groups:
        tried["in none of its groups"] = said(home, **{rules["groups_claim"]: []})
    if domains or rules.get("username") == "email":
        for word in (False, None, "false", ""):
            told = said(home, **dict.fromkeys(VERIFIED, word))
            tried[f"verified as {json.dumps(word)}"] = told
        told = said(home)
        tried["not said to be verified"] = {k: v for k, v in told.items() if k not in VERIFIED}
    strangers = [who for who, told in tried.items() if await admitted(told)]
    json.dump({"known": await admitted(said(home)), "strangers": strangers}, sys.stdout)

asyncio.run(main())
"""


def main() -> None:
    """Print the facts."""
    words = ["/opt/notebook/bin/python", "-I", "-"]
    done = subprocess.run(words, input=JUDGE, capture_output=True, text=True, check=False)
    error = {"error": f"the rules cannot be asked: {done.stderr[-400:]}"}
    sys.stdout.write(json.dumps(error) if done.returncode else done.stdout)


main()
