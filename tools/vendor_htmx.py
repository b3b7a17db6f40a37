"""Fetches HTMX and its extension for events into the portal's static files: python tools/vendor_htmx.py VERSION.

`npm pack` compares what it fetched with the digest that the registry has of it. Afterwards write the two new SHA-256, which are printed, into
tests/unit/test_portal_pages.py, and run tests/browser.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).parents[1] / "src" / "bastide" / "portal" / "static"
#: In the package, and here.
FILES = {
    "package/dist/htmx.min.js": "htmx.min.js",
    "package/dist/ext/hx-sse.min.js": "hx-sse.min.js",
    "package/LICENSE": "htmx.LICENSE",
}


def main() -> int:
    """The exit code."""
    if not sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"htmx.org@{sys.argv[1]}"], cwd=folder, check=True)
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            for inside, name in FILES.items():
                member = archive.extractfile(inside)
                if member is None:
                    print(f"{inside} is no file in {packed.name}", file=sys.stderr)
                    return 1
                content = member.read()
                (STATIC / name).write_bytes(content)
                print(f"{hashlib.sha256(content).hexdigest()}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
