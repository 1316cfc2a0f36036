"""What the hub offers besides sessions; each part is off unless ``appliance.yml`` asks for it.

- ``settings``: what the appliance's ``record`` says, in JupyterHub's terms
- ``sign_in``: OpenID Connect, Google and LDAP instead of the appliance's own accounts
- ``profiles``: what a student may choose when a session starts
- ``usage``: root's sampler of sessions and host; ``panel`` shows a session its own
- ``metrics``, ``pages``: the same for Prometheus and for the administrator
- ``conditions``: what of it an administrator must know of at once
"""
