"""A real browser that looks at pages: Debian's Chromium without a window, over its DevTools."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_LONGEST_SECONDS = 60.0


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields the address."""
    handler = partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Tab:
    """One tab of the browser.

    `errors` is what went wrong on its pages: exceptions, errors on the console and of the network.
    `requested` are the addresses that were loaded.
    """

    def __init__(self, address: str) -> None:
        from websocket import create_connection

        self._socket = create_connection(address, timeout=_LONGEST_SECONDS, suppress_origin=True)
        self._number = 0
        self.errors: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """Close the connection; the tab stays."""
        self._socket.close()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(
                    details.get("exception", details).get("description", str(details))
                )
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(str([one.get("value") for one in params["args"]]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            case "Network.loadingFailed" if not params.get("canceled"):
                self.errors.append(params["errorText"])
        return message

    def show(self, address: str, *, width: int, theme: str, height: int = 900) -> None:
        """Load a page in a window of that width, in the light or dark theme, and wait for it."""
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        # What the page before still had to say is heard, and forgotten.
        self._go("about:blank")
        self.errors.clear()
        self.requested.clear()
        self._go(address)
        self.run("document.fonts.ready.then(() => true)")

    def _go(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        until = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < until:
            # Between two pages there is nothing to run a script in.
            with suppress(RuntimeError):
                if self.run("`${location.href} ${document.readyState}`") == f"{address} complete":
                    return
            time.sleep(0.01)
        raise TimeoutError(f"{address} was not loaded.")

    def run(self, script: str) -> Any:
        """Return the value of a script on the page."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self, file: Path) -> None:
        """Write what the window shows as a PNG."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextmanager
def browser() -> Iterator[Tab]:
    """Start the browser; yields its tab."""
    assert CHROMIUM is not None
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--disable-gpu",
                "--disable-extensions",
                "--disable-background-networking",
                "--hide-scrollbars",
                "--no-first-run",
                "--no-sandbox",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            tab = Tab(_address_of_the_tab(Path(profile)))
            try:
                yield tab
            finally:
                tab.close()
        finally:
            process.terminate()
            process.wait()


def _address_of_the_tab(profile: Path) -> str:
    until = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < until:
        try:
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            with urlopen(f"http://127.0.0.1:{port}/json") as answer:
                tabs = json.load(answer)
            return str(next(one["webSocketDebuggerUrl"] for one in tabs if one["type"] == "page"))
        except (OSError, IndexError, StopIteration):
            time.sleep(0.05)
    raise TimeoutError("Chromium did not start.")
