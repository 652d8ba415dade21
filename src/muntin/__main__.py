"""The command line for `python -m muntin`, and so for `torchrun -m muntin`."""

import sys

from muntin.cli import main

sys.exit(main())
