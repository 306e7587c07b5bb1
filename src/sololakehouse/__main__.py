"""What `slh` and `python -m sololakehouse` start; it imports next to nothing before it is ready.

From here on Ctrl-C ends without a traceback, also while the commands are imported.
"""

import sys

_INTERRUPTED = 130


def main() -> None:
    """Import the commands and run one; see `sololakehouse.cli.main` for exit codes."""
    try:
        from sololakehouse.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
