"""Makes the calls that it reads as JSON lines, and prints what comes of each."""

import json
import os
import sys
from dataclasses import astuple

from tests.conformance.replay import perform

# As for the traces: under another one the original's programs write wider files than its functions.
os.umask(0o077)
for line in sys.stdin:
    function, arguments = json.loads(line)
    outcome = astuple(perform(function, arguments))
    print(json.dumps(outcome), flush=True)
