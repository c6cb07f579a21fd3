"""`python -m fastgpu.agent`."""

import sys

from fastgpu.agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
