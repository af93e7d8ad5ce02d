"""`python -m ustack`: the command `ustack`."""

from __future__ import annotations

import sys

from ustack.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
