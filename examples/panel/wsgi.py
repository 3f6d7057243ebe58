"""The panel for mod_wsgi: docs/migrating.md tells how."""

import os

os.environ.setdefault("PANEL_SECRET_FILE", "/etc/panel.secret")

from panel import create_app

application = create_app()
