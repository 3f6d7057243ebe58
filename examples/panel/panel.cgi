#!/opt/panel/venv/bin/python -I
"""The panel as a CGI program, for suexec: docs/migrating.md tells how."""

import os
import sys
from wsgiref.handlers import CGIHandler

os.environ["PANEL_SECRET_FILE"] = "/etc/panel.secret"
sys.path.insert(0, "/opt/panel")

from panel import create_app

CGIHandler().run(create_app())
