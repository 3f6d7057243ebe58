"""SMTP AUTH of vpopmail's users in aiosmtpd.

Copy `refuse` and `VpopmailAuth`, and give both to the server: `VpopmailAuth` is a handler's base.
AUTH is offered under TLS alone, which is aiosmtpd's default; a connection has three attempts. The
process needs to be root or the domains' owner.

    python aiosmtpd_auth.py CERTIFICATE KEY [PORT]    # 127.0.0.1:587; prints the mail that it takes
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from typing import Any, cast

from aiosmtpd.handlers import Debugging
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from vpopmail_ext import aio
from vpopmail_ext.api import User, UserFlags, VpopmailError

REFUSED = "535 5.7.8 Authentication credentials invalid"
UNKNOWN = "454 4.7.0 Temporary authentication failure"

log = logging.getLogger(__name__)


def refuse(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
) -> AuthResult:
    """Refuse everybody, and pass on what was given: aiosmtpd's authenticators can't wait.

    `VpopmailAuth` takes it from there. A server without it lets nobody in.
    """
    return AuthResult(success=False, handled=False, auth_data=given)


class VpopmailAuth:
    """A handler's answers to AUTH PLAIN and AUTH LOGIN; hashes are computed in threads."""

    async def auth_PLAIN(self, server: SMTP, arguments: list[str]) -> AuthResult:
        """Answer AUTH PLAIN."""
        return await self._answer(server, await SMTP.auth_PLAIN(server, server, arguments))

    async def auth_LOGIN(self, server: SMTP, arguments: list[str]) -> AuthResult:
        """Answer AUTH LOGIN."""
        return await self._answer(server, await SMTP.auth_LOGIN(server, server, arguments))

    async def _answer(self, server: SMTP, refused: AuthResult) -> AuthResult:
        given = refused.auth_data
        if not isinstance(given, LoginPassword):
            return refused  # broken off, or no base64: the client was told
        try:
            user = await aio.sign_in(
                given.login.decode("utf-8", "surrogateescape"),
                given.password.decode("utf-8", "surrogateescape"),
                UserFlags.NO_SMTP,
            )
        except VpopmailError as error:
            log.error("sign-ins can't be looked up: %s", error)
            return AuthResult(success=False, handled=False, message=UNKNOWN)
        if user is None:
            return AuthResult(success=False, handled=False, message=REFUSED)
        await self._note(server, user)
        return AuthResult(success=True, auth_data=user)

    async def _note(self, server: SMTP, user: User) -> None:
        """Keep the time and the address, which `vpopmail-ext user show` tells."""
        try:
            peer: Any = server.session.peer if server.session else None
            await aio.set_last_auth(user, str(peer[0]))
        except VpopmailError as error:  # no reason to keep the user out
            log.warning("the sign-in of %s was not noted: %s", user.address, error)


class Submission(VpopmailAuth, Debugging):
    """Takes mail of those who signed in, from their own address, and prints it."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer MAIL FROM."""
        user = cast(User, session.auth_data)
        if address.lower() != user.address:
            return f"553 5.7.1 Not your address; yours is {user.address}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"


def server(tls: ssl.SSLContext, handler: Any = None) -> SMTP:
    """Return a connection's server, which lets nobody send who has not signed in."""
    return SMTP(
        handler or Submission(),
        authenticator=refuse,
        auth_required=True,
        auth_exclude_mechanism=["CRAM-MD5"],
        require_starttls=True,
        tls_context=tls,
        command_call_limit={"AUTH": 3, "*": 1000},
    )


async def main(certificate: str, key: str, port: str = "587") -> None:
    """Serve until the process is ended."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: server(tls), "127.0.0.1", int(port))
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
