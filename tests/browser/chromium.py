"""Debian's Chromium, driven by its own DevTools protocol over a websocket: real keys, a real mouse, real rendering.

No driver of its own to keep in step with the browser. Whatever the page complains of (errors, refused by policy) is kept.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
WHY_NOT = (
    "needs Chromium: apt-get install chromium"
    if CHROMIUM is None
    else 'needs websocket-client: pip install "attending[browser]"'
    if find_spec("websocket") is None
    else None
)
"""Why no browser can be driven here; None where one can."""
KEYS: Mapping[str, tuple[str, int, str]] = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Space": ("Space", 32, " "),
    "Escape": ("Escape", 27, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
}
SECONDS = 20.0


class BrowserError(AssertionError):
    """The browser did not do what it was asked, or the page not in time."""


class Page:
    """One tab. `complaints` are errors of its console and whatever its policy refused."""

    def __init__(self, socket: Any, session: str) -> None:
        self._socket, self._session = socket, session
        self._number = 0
        self.complaints: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters, "sessionId": self._session}))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == self._number and said.get("sessionId") == self._session:
                if "error" in said:
                    raise BrowserError(f"{method}: {said['error']['message']}")
                return dict(said["result"])
            self._hear(said)

    def _hear(self, said: Mapping[str, Any]) -> None:
        told = said.get("params", {})
        match said.get("method"):
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(each.get("value")) for each in told["args"]))
            case "Audits.issueAdded" if told["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(json.dumps(told["issue"]["details"]))
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"a dialog: {told['message']}")

    def go(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        said = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in said:
            raise BrowserError(f"{expression}: {said['exceptionDetails']['text']}")
        return said["result"].get("value")

    def wait(self, expression: str, *, seconds: float = SECONDS) -> None:
        """Until it is true in the page."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.value(f"Boolean({expression})"):
                    return
            except BrowserError:  # the page is being exchanged
                pass
            time.sleep(0.03)
        raise BrowserError(f"not within {seconds:g} s: {expression}")

    def arrive(self, expression: str) -> None:
        """Until a page is there of which it is true, its program read too."""
        self.wait(f"document.readyState === 'complete' && ({expression})")

    def text(self, selector: str) -> str:
        """What an element says, as it is shown."""
        return str(self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the element, after it was scrolled into view."""
        at = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        if at is None:
            raise BrowserError(f"nothing to click: {selector}")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **button)

    def drag(self, selector: str, *, by: tuple[float, float]) -> None:
        """From the middle of the element."""
        x, y = self.value(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        places = (("mousePressed", 0.0), ("mouseMoved", 0.5), ("mouseMoved", 1.0), ("mouseReleased", 1.0))
        for kind, share in places:
            self.send(
                "Input.dispatchMouseEvent",
                type=kind, x=x + share * by[0], y=y + share * by[1], button="left", buttons=1, clickCount=1,
            )  # fmt: skip

    def press(self, *keys: str) -> None:
        """One key after the other, as a keyboard sends them."""
        for key in keys:
            code, number, text = KEYS.get(key, (key, ord(key.upper()[0]), key))
            told = {"key": " " if key == "Space" else key, "code": code, "windowsVirtualKeyCode": number}
            self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **told)
            self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        """Into the field in focus, in the place of what stood there."""
        self.value("document.activeElement.select && document.activeElement.select()")
        self.send("Input.insertText", text=text)

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """The size of the window, and the colours that the person prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def without_scripts(self) -> None:
        """As for somebody who allows none."""
        self.send("Emulation.setScriptExecutionDisabled", value=True)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, fromSurface=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser: a function that opens a fresh tab, in a profile of its own without cookies of the others."""
    import websocket

    assert CHROMIUM is not None, WHY_NOT
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [
            CHROMIUM, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run",
            "--no-default-browser-check", "--disable-gpu", "--disable-extensions", "--disable-background-networking",
            "--disable-sync", "--disable-component-update", "--hide-scrollbars", "--mute-audio", "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ]  # fmt: skip
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # root in a container: Chromium starts no other way
        process = subprocess.Popen([*arguments, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            socket = websocket.create_connection(_address(Path(profile), process), suppress_origin=True, timeout=SECONDS)
            number = 0

            def ask(method: str, **parameters: Any) -> dict[str, Any]:
                nonlocal number
                number += 1
                socket.send(json.dumps({"id": -number, "method": method, "params": parameters}))
                while True:
                    said = json.loads(socket.recv())
                    if said.get("id") == -number:
                        return dict(said["result"])

            def tab() -> Page:
                apart = ask("Target.createBrowserContext")["browserContextId"]
                target = ask("Target.createTarget", url="about:blank", browserContextId=apart)["targetId"]
                return Page(socket, ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

            yield tab
            socket.close()
        finally:
            process.terminate()
            try:
                process.wait(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """Where the browser listens; it writes that into its profile."""
    told = profile / "DevToolsActivePort"
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if told.is_file() and len(lines := told.read_text().split()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        assert process.poll() is None, "Chromium ended before it could be asked"
        time.sleep(0.05)
    raise BrowserError("Chromium did not say where it listens")
