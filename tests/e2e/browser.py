"""A headless Chromium, driven over a pipe: what it loads, says and shows of a page.

The DevTools protocol, JSON messages that end in a zero byte, on file descriptors 3 and 4: no port,
no driver and no library is needed. Debian and Ubuntu: apt-get install chromium.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"),
    *("--disable-default-apps", "--no-default-browser-check", "--password-store=basic"),
    *("--force-color-profile=srgb", "--font-render-hinting=none", "--remote-debugging-pipe"),
)
SECONDS = 60  # after which an answer counts as lost
# puts its two pipes on 3 and 4, which Chromium reads from and writes to, and becomes Chromium
LAUNCHER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def program():
    """Give Chromium's path, or None where there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One Chromium process with a profile of its own; use it in a `with`."""

    def __init__(self, profile):
        to_child, self.out = os.pipe()
        self.into, from_child = os.pipe()
        arguments = [program(), *QUIET, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(to_child), str(from_child), *arguments],
            pass_fds=(to_child, from_child),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_child)
        os.close(from_child)
        self.number, self.rest, self.waiting, self.events = 0, b"", {}, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.ask("Browser.close")
            self.process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        finally:
            os.close(self.out)
            os.close(self.into)

    def ask(self, method, session=None, **parameters):
        """Call a method of the protocol; give its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        mine, until = self.number, time.monotonic() + SECONDS
        while mine not in self.waiting:
            self.listen(until, method)
        answer = self.waiting.pop(mine)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def listen(self, until, what):
        """Take in what Chromium says next: answers by their number, events in order."""
        ready, _, _ = select.select([self.into], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError(f"no answer to {what} within {SECONDS} s")
        data = os.read(self.into, 1 << 20)
        if not data:
            raise OSError("Chromium has gone")
        *messages, self.rest = (self.rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.waiting[message["id"]] = message
            else:
                self.events.append(message)

    def open(self, url, *, width, height=844, dark=False, phone=False):
        """Open a page in a tab of its own and wait until all of it is loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable", session)
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", session, features=[scheme])
        tab = Tab(self, session)
        self.ask("Page.navigate", session, url=url)
        until = time.monotonic() + SECONDS
        while not tab.heard("Page.loadEventFired"):
            self.listen(until, f"loading {url}")
        return tab


class Tab:
    """One page, as it was opened."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    def heard(self, name):
        """Give the parameters of all events of a name."""
        return [
            event["params"]
            for event in self.browser.events
            if event["method"] == name and event.get("sessionId") == self.session
        ]

    def complaints(self):
        """Give all that the console and the log said, and what was thrown."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(said) for name in names for said in self.heard(name)]

    def requests(self):
        """Give the addresses of all that was asked for, but for what stands in the page itself."""
        urls = [said["request"]["url"] for said in self.heard("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith("data:")]

    def value(self, expression):
        """Give what a JavaScript expression is."""
        answer = self.browser.ask(
            "Runtime.evaluate", self.session, expression=expression, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file, *, clip=None):
        """Write a PNG of the whole page, or of x, y, width, height in its pixels."""
        size = self.browser.ask("Page.getLayoutMetrics", self.session)["cssContentSize"]
        box = dict(zip(("x", "y", "width", "height"), clip, strict=True)) if clip else size
        data = self.browser.ask(
            "Page.captureScreenshot",
            self.session,
            format="png",
            captureBeyondViewport=True,
            clip=box | {"scale": 1},
        )["data"]
        file.write_bytes(base64.b64decode(data))
        return file
