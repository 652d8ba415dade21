"""`python -m muntin`, and so `torchrun -m muntin`: the command line."""

import sys

from muntin.cli import main

sys.exit(main())
