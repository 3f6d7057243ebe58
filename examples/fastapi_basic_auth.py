"""HTTP basic authentication of vpopmail's users in FastAPI.

Copy `signed_in` and what is above it; an endpoint that takes ``user: SignedIn`` is for those who
sign in. Passwords go over the network as they are: serve it over HTTPS only, and let the server in
front limit how many attempts an address has. The process needs to be root or the domains' owner.

    uvicorn fastapi_basic_auth:app
"""

from __future__ import annotations

import logging
from base64 import b64decode
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from vpopmail_ext import aio
from vpopmail_ext.api import User, UserFlags, VpopmailError

# Those whom the postmaster keeps out of webmail stay outside here too.
FORBIDDING = UserFlags.NO_WEBMAIL

log = logging.getLogger(__name__)


class Basic(HTTPBasic):
    """FastAPI's, for passwords that are not ASCII too: RFC 7617's charset UTF-8."""

    def make_authenticate_headers(self) -> dict[str, str]:
        """Tell browsers the charset."""
        return {"WWW-Authenticate": f'Basic realm="{self.realm}", charset="UTF-8"'}

    async def __call__(self, request: Request) -> HTTPBasicCredentials:  # type: ignore[override]
        """Return the name and password that a request brings."""
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            colon = ""
        if scheme.lower() != "basic" or not colon:
            raise self.make_not_authenticated_error()
        return HTTPBasicCredentials(username=name, password=password)


basic = Basic(realm="mail")


async def signed_in(given: Annotated[HTTPBasicCredentials, Depends(basic)]) -> User:
    """Return the user who signs in; 401 for a wrong password, 503 where nobody can tell.

    The hash is computed in a thread: other requests are served meanwhile.
    """
    try:
        user = await aio.sign_in(given.username, given.password, FORBIDDING)
    except VpopmailError as error:
        log.error("sign-ins can't be looked up: %s", error)
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE) from error
    if user is None:
        raise basic.make_not_authenticated_error()
    return user


SignedIn = Annotated[User, Depends(signed_in)]

app = FastAPI()


@app.get("/me")
async def me(user: SignedIn) -> dict[str, Any]:
    """Tell users of themselves: never give a `User` as it is, it has the password's hash."""
    usage = await aio.quota_usage(user)
    return {"address": user.address, "name": user.gecos, "used": usage.size}
