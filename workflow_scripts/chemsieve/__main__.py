"""``python -m chemsieve``: the command ``chemsieve``."""

import sys

from chemsieve.command import main

if __name__ == "__main__":
    sys.exit(main())
