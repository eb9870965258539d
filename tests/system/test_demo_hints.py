"""What the demo says to try can be pasted as it is, also without the command on the path."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_hint_of_the_demo_runs_where_the_command_is_not_on_the_path(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    demo = subprocess.run(
        [sys.executable, "-m", "mirror", "demo", "--days", "5"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    hints = demo.stdout.partition("Try next:\n")[2].splitlines()
    # one wants the network, and one does not end
    local = [hint for hint in hints if not re.search("the real archive|until Ctrl-C", hint)]

    assert len(local) == len(hints) - 2 > 0
    for hint in local:
        subprocess.run(
            ["/bin/bash", "-c", hint], cwd=tmp_path, env=environment, check=True, timeout=60
        )
