"""Ask for known weaknesses of what is locked: `python tests/audit.py PIP_AUDIT`.

pip-audit exits with 0 where the package index answers nothing at all; this says so.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements-runtime.lock"


def main(pip_audit: str) -> int:
    """Return the exit code: 1 where a weakness is known."""
    command = (pip_audit, "--require-hashes", "--disable-pip", "-r", str(LOCK), "-f", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"not audited: pip-audit got no answer: {done.stderr.strip()[-300:]}")
        return 0
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    weak = [one for one in packages if one.get("vulns")]
    for one in weak:
        print(f"{one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}")
    print(f"{len(packages) - len(skipped)} packages audited, {len(weak)} with known weaknesses")
    if skipped:
        print(f"not audited, the package index does not answer about them: {len(skipped)}")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
