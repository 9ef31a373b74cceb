"""The interactive menu, under the name that the document gives it; the same as `grace-chaos`."""

import sys

if __name__ == "__main__":
    try:
        from harness.entry import guarded
    except Exception as error:
        sys.stderr.write(f"the harness failed: {type(error).__name__}: {error}\n")
        sys.exit(3)
    sys.exit(guarded("harness.menu"))
