"""A Django site behind examples/django_vpopmail.py, and its tests; test_examples.py runs them."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.test import TestCase
from django.urls import path

from vpopmail_ext import errors

PASSWORD = "s3cret PW: ü"


def me(request: HttpRequest) -> HttpResponse:
    from django.contrib.auth import get_user

    return HttpResponse(get_user(request).get_username())


urlpatterns = [
    path("login/", LoginView.as_view(template_name="none.html", next_page="/me/")),
    path("me/", me),
]


class SignIns(TestCase):
    """Run with a mail home that has alice, and bob who is kept out of webmail."""

    def test_the_first_sign_in_makes_the_user(self) -> None:
        answer = self.client.post(
            "/login/", {"username": "Alice@Example.NET", "password": PASSWORD}, follow=True
        )
        assert answer.content == b"alice@example.com"
        user = User.objects.get()
        assert user.get_username() == "alice@example.com"
        assert not user.has_usable_password()
        assert not (user.is_staff)
        assert not (user.is_superuser)
        assert authenticate(username="alice@example.com", password=PASSWORD) == user
        assert User.objects.count() == 1

    def test_wrong_passwords(self) -> None:
        for name, password in (
            ("alice@example.com", "guess"),
            ("alice@example.com", ""),
            ("nobody@example.com", PASSWORD),
            ("bob@example.com", PASSWORD),
            ("", ""),
        ):
            assert authenticate(username=name, password=password) is None
        assert User.objects.count() == 0

    def test_a_user_whom_the_site_disabled(self) -> None:
        User.objects.create_user("alice@example.com", is_active=False)
        assert authenticate(username="alice@example.com", password=PASSWORD) is None

    def test_what_can_t_be_looked_up_is_no_wrong_password(self) -> None:
        from vpopmail_ext import api, info

        cdb = f"{info().home}/domains/example.com/vpasswd.cdb"
        with open(cdb, "wb") as file:
            file.write(b"\xff" * 3000)
        try:
            with pytest.raises(errors.StorageFailed):
                authenticate(username="alice@example.com", password=PASSWORD)
        finally:
            api.rebuild("example.com")
