"""The Python process of one page: it takes blocks as lines of JSON, and says when each is done.

It is started as a script, with the file descriptor to answer on.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import types
from typing import Any


def run(names: dict[str, Any], request: dict[str, Any]) -> bool:
    """Execute a block, whose lines are counted as on its page; returns whether it ended well."""
    os.chdir(request["folder"])
    try:
        text = "\n" * request["line"] + request["code"]
        exec(compile(text, request["page"], "exec"), names)
    except BaseException as error:  # noqa: BLE001
        below = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, below)
        return False
    return True


def main(answers: int) -> None:
    """Serve blocks until standard input ends."""
    os.set_inheritable(answers, False)
    sys.path[0] = ""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    with os.fdopen(answers, "w") as done:
        for line in sys.stdin:
            request = json.loads(line)
            module.__file__ = request["page"]
            ended = run(vars(module), request)
            sys.stdout.flush()
            sys.stderr.flush()
            print(json.dumps(ended), file=done, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
