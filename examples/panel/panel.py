"""A panel in which the postmaster of a domain manages its users and aliases.

It is small and meant to be copied: nothing in it is left out for brevity that a panel on the
Internet needs, but HTTPS and a limit on attempts to sign in, which are up to the web server in
front. docs/migrating.md tells how to run it, and shows the same panel in PHP.

    PANEL_SECRET_FILE=/etc/panel.secret gunicorn --threads 8 'panel:create_app()'
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
from datetime import timedelta
from itertools import islice
from pathlib import Path

from flask import Flask, flash, g, redirect, render_template, request, session, url_for
from flask_wtf import CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from vpopmail_ext import api
from vpopmail_ext.errors import VpopmailError

PAGE = 50
ALIAS = re.compile(r"[a-z0-9](?:[a-z0-9._+]|-(?!default|owner))*")
# A line of an alias may also run a program, as |rm: nobody but an administrator of the host
# may write those.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%'*+/=?^_`{}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger(__name__)


def create_app() -> Flask:
    """Return the panel, a WSGI application."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret(),
        SESSION_COOKIE_NAME="__Host-panel",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=30),
        MAX_CONTENT_LENGTH=16384,
    )
    if proxies := int(os.environ.get("PANEL_PROXIES", "0")):  # which tell who asks
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    CSRFProtect(app)  # each form brings a token that belongs to the session
    app.before_request(postmasters_only)
    app.after_request(with_headers)
    app.register_error_handler(VpopmailError, failed)
    app.register_error_handler(HTTPException, refused)
    app.add_url_rule("/sign-in", view_func=sign_in, methods=["GET", "POST"])
    app.add_url_rule("/sign-out", view_func=sign_out, methods=["POST"])
    app.add_url_rule("/", view_func=users)
    app.add_url_rule("/users", view_func=add_user, methods=["POST"])
    app.add_url_rule("/users/<name>", view_func=user)
    app.add_url_rule("/users/<name>/password", view_func=set_password, methods=["POST"])
    app.add_url_rule("/users/<name>/quota", view_func=set_quota, methods=["POST"])
    app.add_url_rule("/users/<name>/delete", view_func=delete_user, methods=["POST"])
    app.add_url_rule("/aliases", view_func=aliases)
    app.add_url_rule("/aliases", view_func=add_alias, methods=["POST"])
    app.add_url_rule("/aliases/delete", view_func=delete_alias, methods=["POST"])
    return app


def secret() -> str:
    """Return what signs the sessions; all processes of the panel have the same."""
    path = os.environ.get("PANEL_SECRET_FILE", "")
    key = Path(path).read_text().strip() if path else ""
    if len(key) < 32:
        raise RuntimeError(
            "PANEL_SECRET_FILE must name a file with a secret that only the panel can read: "
            "(umask 077; python3 -c 'import secrets; print(secrets.token_hex())' > FILE)"
        )
    return key


# --- who may --------------------------------------------------------------------------------------


def sign_in() -> str | Response:
    """Sign a postmaster in."""
    if request.method == "GET":
        return render_template("sign_in.html")
    address = request.form["address"].strip()
    found = api.sign_in(address, request.form["password"], api.UserFlags.NO_WEBMAIL)
    session.clear()
    if found is None or found.name != "postmaster":
        log.warning("refused to sign in %a from %s", address, request.remote_addr)
        flash("There is no such postmaster, or the password is another.", "error")
        return redirect(url_for("sign_in"), 303)
    log.info("%a signed in from %s", found.address, request.remote_addr)
    session.permanent = True
    session["domain"] = found.domain
    session["seal"] = seal(found)
    return redirect(url_for("users"), 303)


def sign_out() -> Response:
    """End the session."""
    session.clear()
    return redirect(url_for("sign_in"), 303)


def seal(postmaster: api.User) -> str:
    """Return what the session has of a password: another one ends all sessions."""
    text = f"{postmaster.address} {postmaster.password_hash}"
    return hmac.new(secret().encode(), text.encode(), hashlib.sha256).hexdigest()


def postmasters_only() -> Response | None:
    """Set `g.domain`, the domain of the postmaster who is signed in; ask others to sign in."""
    if request.endpoint in ("sign_in", "static"):
        return None
    if "domain" in session:
        try:
            postmaster = api.user("postmaster", session["domain"])
        except LookupError:
            pass  # deleted meanwhile
        else:
            if hmac.compare_digest(session["seal"], seal(postmaster)):
                g.domain = postmaster.domain
                return None
        session.clear()
    return redirect(url_for("sign_in"), 303)


def with_headers(response: Response) -> Response:
    """Tell the browser what the pages need: styles and forms of their own, nothing else."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def failed(error: VpopmailError) -> Response | tuple[str, int]:
    """Tell why vpopmail refused; what is wrong with the server is for its log alone."""
    if isinstance(error, (LookupError, ValueError, FileExistsError)):
        text, status = f"{error.text}.", 404
    else:
        log.error("%s %a: %s", request.method, request.path, error)
        text, status = "The server can't do this now; its log tells why.", 503
    if request.method == "GET":
        return render_template("error.html", text=text), status
    return back(text)


def refused(error: HTTPException) -> Response | tuple[str, int]:
    """Show a page for a wrong address, a form that is too old, and the like."""
    return render_template("error.html", text=error.description), error.code or 500


def back(text: str, kind: str = "error") -> Response:
    """Say something on the page that a form was on."""
    flash(text, kind)
    endpoint, name = request.endpoint or "", (request.view_args or {}).get("name")
    if endpoint == "sign_in":
        return redirect(url_for("sign_in"), 303)
    if endpoint in ("add_alias", "delete_alias"):
        return redirect(url_for("aliases"), 303)
    if name is None or (endpoint == "delete_user" and kind != "error"):
        return redirect(url_for("users"), 303)
    return redirect(url_for("user", name=name), 303)


def done(text: str) -> Response:
    """Say that something was done, and note who did it."""
    log.info("%s: %a, by its postmaster from %s", g.domain, text, request.remote_addr)
    return back(text, "done")


# --- users ----------------------------------------------------------------------------------------


def users() -> str:
    """List the domain's users, a page at a time."""
    sought = request.args.get("q", "").strip().lower()
    start = max(request.args.get("start", 0, int), 0)
    found = (u for u in api.users(g.domain) if sought in u.name or sought in u.gecos.lower())
    listed = list(islice(found, start, start + PAGE + 1))
    return render_template(
        "users.html",
        users=listed[:PAGE],
        quota_text=quota_text,
        sought=sought,
        before=max(start - PAGE, 0) if start else None,
        after=start + PAGE if len(listed) > PAGE else None,
    )


def user(name: str) -> str:
    """Show a user, with what can be changed."""
    found = api.user(name, g.domain)
    usage = api.quota_usage(found)
    return render_template("user.html", user=found, usage=usage, quota=quota_text(found.quota))


def quota_text(quota: api.Quota) -> str:
    """Return a quota as people write it, which `api.set_quota` reads."""
    size, rest = divmod(quota.size or 0, 2**20)
    parts = [f"{size}M" if not rest else f"{quota.size}"] if quota.size else []
    return ",".join([*parts, f"{quota.messages}C"] if quota.messages else parts)


def add_user() -> Response:
    """Add a user, if the domain may have one more."""
    name, password = request.form["name"].strip().lower(), request.form["password"]
    most = api.limits(g.domain).maxpopaccounts  # which vpopmail itself does not look at
    if most is not None and sum(1 for _ in api.users(g.domain)) >= most:
        return back(f"{g.domain} may not have more than {most} users.")
    if any(alias.name == name for alias in api.aliases(g.domain)):
        return back(f"There is an alias {name}: no mail would reach the user.")
    api.add_user(name, g.domain, password, gecos=request.form["gecos"].strip())
    return done(f"{name}@{g.domain} was added.")


def set_password(name: str) -> Response:
    """Change a user's password."""
    api.set_password(name, g.domain, request.form["password"])
    if name == "postmaster":  # this session goes on, all others end
        session["seal"] = seal(api.user(name, g.domain))
    return done(f"{name}@{g.domain} has a new password.")


def set_quota(name: str) -> Response:
    """Change a user's quota; an empty one is none."""
    api.set_quota(name, g.domain, request.form["quota"].strip() or None)
    return done(f"The quota of {name}@{g.domain} was changed.")


def delete_user(name: str) -> Response:
    """Delete a user, with the mail."""
    if name == "postmaster":
        return back("The postmaster stays.")
    if request.form.get("sure") != "yes":
        return back("Nothing was deleted: tick the box to do it.")
    api.delete_user(name, g.domain)
    return done(f"{name}@{g.domain} was deleted.")


# --- aliases --------------------------------------------------------------------------------------


def aliases() -> str:
    """List the domain's aliases."""
    return render_template("aliases.html", aliases=api.aliases(g.domain))


def add_alias() -> Response:
    """Make an alias forward to one more address."""
    name, address = request.form["name"].strip().lower(), request.form["address"].strip()
    if not ALIAS.fullmatch(name) or name == "default":
        return back("An alias is of letters, digits, dots, hyphens, plus signs and underscores.")
    if not ADDRESS.fullmatch(address):
        return back("An alias forwards to a mail address.")
    if any(found.name == name for found in api.users(g.domain)):
        return back(f"{name}@{g.domain} is a user, who would get no mail any more.")
    there = {alias.name for alias in api.aliases(g.domain)}
    most = api.limits(g.domain).maxforwards
    if most is not None and name not in there and len(there) >= most:
        return back(f"{g.domain} may not have more than {most} aliases.")
    api.add_alias(name, g.domain, f"&{address}")
    return done(f"{name}@{g.domain} forwards to {address}.")


def delete_alias() -> Response:
    """Take one address out of an alias; with the last one the alias goes."""
    name, line = request.form["name"], request.form["line"]
    if not any(alias.name == name and line in alias.lines for alias in api.aliases(g.domain)):
        return back(f"{name}@{g.domain} has no such line.")
    if not line.startswith("&"):
        return back("The administrator of the server made this line, and deletes it.")
    api.remove_alias_line(name, g.domain, line)
    return done(f"{name}@{g.domain} does not forward to {line[1:]} any more.")
