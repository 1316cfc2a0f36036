"""What requests may leave behind in the hub: in its memory, its database and its journal.

Each student may ask the hub for something, also from a session, as often as it answers. JupyterHub
keeps what it is told, however much that is.
"""

import logging
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler
from jupyterhub.apihandlers.users import UserTokenListAPIHandler
from jupyterhub.app import JupyterHub
from tornado import web

BODY = 8 << 20  # bytes of a request; more is not read to its end
SHORT = 64 << 10  # of anybody's but an administrator's, who sends lists of a school's students
TOKENS = 1000  # of a student, those of browsers and programs together
NOTE = 200  # characters that say what a token is for
LINE = 2000  # characters of a line in the journal
CONTROLS = {number: repr(chr(number))[1:-1] for number in (*range(32), *range(127, 160), 0x2028)}


class BoundedHub(JupyterHub):  # type: ignore[misc]  # JupyterHub has no types
    """JupyterHub, which keeps little of what a request says."""

    def init_logging(self) -> None:
        """Have each message be a line of its own."""
        super().init_logging()
        for handler in self.log.handlers:
            handler.addFilter(one_line)

    async def start(self) -> None:
        """Answer; what is much longer than anything of ours is not kept in memory."""
        await super().start()
        self.http_server.conn_params.max_body_size = BODY


def refuse_long(handler: Any) -> None:
    """Look at how much a request brings.

    Raises:
        HTTPError: 413, more than anybody but an administrator has to say.
    """
    admin = getattr(handler.current_user, "admin", False)
    if len(handler.request.body) > SHORT and not admin:
        raise web.HTTPError(413, f"A request has at most {SHORT} bytes.")


class FewTokens:
    """Put before the handlers that make tokens."""

    async def prepare(self: Any) -> None:
        """Refuse another token to whoever has very many, or who hides a book in it.

        Raises:
            HTTPError: 400, it is refused.
        """
        await super().prepare()  # type: ignore[misc]  # the handler's
        if self.request.method == "POST" and isinstance(self, UserTokenListAPIHandler):
            told = self.get_json_body()
            note = told.get("note") if isinstance(told, dict) else None
            if note is not None and not (isinstance(note, str) and len(note) <= NOTE):
                raise web.HTTPError(400, f"A token's note is a text of at most {NOTE} characters.")
        elif not isinstance(self, OAuthAuthorizeHandler):
            return
        name = self.path_kwargs.get("user_name") or next(iter(self.path_args), None)
        user = self.find_user(name) if name else self.current_user
        if user is None or not hasattr(user, "orm_user"):
            return
        if self.db.query(orm.APIToken).filter_by(user_id=user.id).count() >= TOKENS:
            place = f"{self.hub.base_url}token"
            raise web.HTTPError(400, f"There are {TOKENS} tokens: take some back at {place}.")


MAKE_TOKENS = (UserTokenListAPIHandler, OAuthAuthorizeHandler)


def one_line(record: logging.LogRecord) -> bool:
    """Show control characters as they are written in Python, and not more than a line of them.

    Whatever a student has us log (a path, a browser's report) begins no line that looks like
    somebody else's.
    """
    try:
        told = record.getMessage()
    except (TypeError, ValueError):  # a wrong call, which logging itself tells of
        return True
    shown = told[:LINE].translate(CONTROLS)
    record.msg, record.args = shown + ("…" if len(told) > LINE else ""), ()
    return True
