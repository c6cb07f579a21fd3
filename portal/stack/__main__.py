"""`python -m portal.stack`: the same as `manage.py up`, without loading Django first."""

import sys

from portal.stack.up import main

sys.exit(main())
