"""The interactive menu, under the name that the document gives it; the same as `grace-chaos`."""

import sys

from harness.menu import main

if __name__ == "__main__":
    sys.exit(main())
