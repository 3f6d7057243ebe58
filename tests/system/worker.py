"""Makes the calls that it reads as JSON lines, and prints what comes of each."""

import json
import os
import sys
from dataclasses import astuple

from tests.conformance.replay import perform

# What is not written by its own mode is written by the umask: the traces have this one.
os.umask(0o077)
for line in sys.stdin:
    function, arguments = json.loads(line)
    outcome = astuple(perform(function, arguments))
    print(json.dumps(outcome), flush=True)
