"""Notebook sessions, each on a leased, unprivileged account.

In the order in which a sign-in passes through them:

- ``notebook``: the hub and its proxy, started in the words of the classic ``notebook()``
- ``authenticator``, ``accounts``: who may sign in
- ``spawner``, ``leases``: one account for one student for one session, by ssh
- ``certificate``: tells the account's side, beyond doubt, for whom the session is
- ``connection``: the one ssh process that a session is
- ``activity``: when a session has been idle too long
- ``account``: what root prepares and cleans around a session, called by PAM
- ``session``: what the account runs
"""
