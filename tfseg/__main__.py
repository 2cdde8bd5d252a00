"""Entry point of `python -m tfseg`."""

import sys

from tfseg.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
