"""Ctrl-C in the first moments of `slh`, while Python imports the commands."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.docs.pages import ROOT

PRESSED = """\
import os, runpy, signal, sys

class Keyboard:
    def find_spec(self, name, *_):
        if name == {imported!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Keyboard())
"""
MODULE = "runpy.run_module('sololakehouse', run_name='__main__', alter_sys=True)"


def script() -> str:
    """Return what the installed script `slh` does."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    module, _, function = about["project"]["scripts"]["slh"].partition(":")
    return f"from {module} import {function}; sys.exit({function}())"


@pytest.mark.parametrize("imported", ["sololakehouse.cli", "click.core", "sololakehouse.cli.serve"])
@pytest.mark.parametrize("started", [script(), MODULE], ids=["script", "module"])
def test_ctrl_c_while_the_commands_are_imported_shows_no_traceback(started, imported):
    code = PRESSED.format(imported=imported) + started
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


LOCKED = """\
import runpy, signal, sys

class Keyboard:
    def find_spec(self, name, *_):
        if name == "click.core":
            signal.getsignal(signal.SIGINT)(signal.SIGINT, sys._getframe(1))
            print("held back", flush=True)

sys.meta_path.insert(0, Keyboard())
"""


@pytest.mark.parametrize("started", [script(), MODULE], ids=["script", "module"])
def test_ctrl_c_waits_until_an_import_has_freed_its_locks(started):
    done = subprocess.run(
        [sys.executable, "-c", LOCKED + started, "tables"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "held back\n", "Stopped.\n")
