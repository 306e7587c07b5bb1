"""What `slh` and `python -m sololakehouse` start; it imports next to nothing before it is ready.

From here on Ctrl-C ends without a traceback, also while the commands are imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130
_LOCKS_OF_IMPORTS = "<frozen importlib._bootstrap>"
_SECONDS = 0.01


def main() -> None:
    """Import the commands and run one; see `sololakehouse.cli.main` for exit codes."""
    try:
        _let_imports_unlock()
        from sololakehouse.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(_INTERRUPTED)


def _let_imports_unlock() -> None:
    """Hold Ctrl-C back while Python takes or frees a lock of an import.

    It would stay locked, and every thread that imports something would wait for ever.
    """
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and sys.platform != "win32":
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    import signal

    if frame is None or frame.f_code.co_filename != _LOCKS_OF_IMPORTS:
        raise KeyboardInterrupt
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)


if __name__ == "__main__":
    main()
