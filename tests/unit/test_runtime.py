"""A command leaves no process behind."""

from __future__ import annotations

import subprocess
import sys

from surroundings import bare

# A process of its own: what ends is everything below it. The first look is one at the moment in
# which the parent of all others has gone.
ENDING = """
import subprocess
import psutil
from fraudray.runtime import stoppable

seen, missed = psutil.Process.children, []

def look(process, recursive=False):
    if not missed:
        missed.append(process)
        return []
    return seen(process, recursive)

psutil.Process.children = look
with stoppable():
    child = subprocess.Popen(["sleep", "100"])
assert missed
print(psutil.pid_exists(child.pid))
"""


def test_a_child_that_the_first_look_misses_is_ended_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING], env=bare(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
