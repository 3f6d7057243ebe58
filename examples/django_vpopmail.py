"""A backend by which vpopmail's users sign in to a Django site.

    AUTHENTICATION_BACKENDS = ["django_vpopmail.VpopmailBackend"]

The user name is the address; passwords stay vpopmail's. A user of the site is made with the first
sign-in, without a usable password and without rights of staff; one of that name who is there
already is the one who signs in. Let the site limit attempts, as django-axes does. The process needs
to be root or the domains' owner.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from vpopmail_ext import api


class VpopmailBackend(ModelBackend):
    """Django's own backend, but that the password is asked of vpopmail."""

    forbidding = api.UserFlags.NO_WEBMAIL
    """Those whom the postmaster keeps out of webmail stay outside here too."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> AbstractBaseUser | None:
        """Return the site's user; None where the password is not theirs, for the next backend.

        A `VpopmailError` where it can't be looked up: that is no wrong password.
        """
        model = get_user_model()
        username = kwargs.get(model.USERNAME_FIELD, username)
        if not username or not password:
            return None
        signed_in = api.sign_in(username, password, self.forbidding)
        if signed_in is None:
            return None
        # By the name as vpopmail has it: one user, however the address was typed.
        user, made = model._default_manager.get_or_create(
            **{model.USERNAME_FIELD: signed_in.address}
        )
        if made:
            user.set_unusable_password()
            user.save()
        return user if self.user_can_authenticate(user) else None
