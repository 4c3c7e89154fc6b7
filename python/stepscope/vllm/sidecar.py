"""One call to the sidecar from an engine's event loop: sent, answered, closed; asyncio's streams, nothing to install.

``STEPSCOPE_URL``, ``STEPSCOPE_TOKEN`` or ``STEPSCOPE_TOKEN_FILE`` and, for HTTPS, ``STEPSCOPE_CACERT`` say where and how, as they
say it to the commands; they are read once, when the engine starts.

What always holds: it takes no longer than it is told, neither side's bytes are more than ``MAX_BYTES``, and whatever goes
wrong is a ``NoAnswer`` whose text says what to do. Nothing here blocks the loop. Called by ``routes``.
"""

import asyncio
import http.client
import io
import os
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

URL = "STEPSCOPE_URL"
TOKEN, TOKEN_FILE, CACERT = "STEPSCOPE_TOKEN", "STEPSCOPE_TOKEN_FILE", "STEPSCOPE_CACERT"
DEFAULT_URL = "http://127.0.0.1:8001"
#: The longest body that is taken, from either side: what the sidecar itself takes.
MAX_BYTES = 1 << 20


class NoAnswer(Exception):
    """The sidecar was not reached, or did not answer as one does."""


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes


class Sidecar:
    """Where it is, and what opens it. ``trouble``: why it can't be called at all, or None."""

    def __init__(self, environment=os.environ):
        self.url = (environment.get(URL) or DEFAULT_URL).rstrip("/")
        self.trouble = self.token = self.tls = None
        try:
            self._address()
            self.token = environment.get(TOKEN) or _text(environment, TOKEN_FILE)
            if self.token and not _printable(self.token):
                raise ValueError(f"{TOKEN} has characters that no header can carry")
            if self.secure:
                self.tls = ssl.create_default_context(cadata=_text(environment, CACERT))
        except (ValueError, OSError) as error:
            self.trouble = str(error)

    def _address(self):
        wrong = ValueError(f"{URL} is {self.url!r}: it has to be like {DEFAULT_URL}")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise wrong from None
        plain = _printable(self.url) and "@" not in parts.netloc and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise wrong
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname, port or (443 if self.secure else 80)
        self.authority, self.base = parts.netloc, parts.path

    async def post(self, target: str, headers: dict, body: bytes, patience_s: float) -> Answer:
        """``target`` is path and query; ``headers`` are the caller's that may pass."""
        if self.trouble:
            raise NoAnswer(f"{self.trouble}; set it right and start the engine anew")
        if not _printable(target):
            raise NoAnswer("the query has characters that no address has")
        try:
            received = await asyncio.wait_for(self._exchange(self._request(target, headers, body)), patience_s)
        except (asyncio.TimeoutError, TimeoutError):
            raise NoAnswer(f"the sidecar at {self.url} did not answer within {patience_s:g} s: see its log") from None
        except ssl.SSLError as error:
            raise NoAnswer(f"no HTTPS with {self.url} ({error}): {CACERT} names the file of who signed for it") from None
        except OSError as error:
            start = f"start it (`stepscope serve`), or let {URL} say where it is and start the engine anew"
            raise NoAnswer(f"no sidecar at {self.url} ({error}): {start}") from None
        return self._read(received)

    def _request(self, target, headers, body) -> bytes:
        lines = [f"POST {self.base}{target} HTTP/1.1", f"host: {self.authority}", "connection: close"]
        if self.token:
            lines.append(f"authorization: Bearer {self.token}")
        lines += [f"{name}: {value}" for name, value in headers.items() if _printable(value, " ")]
        lines += [f"content-length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + body

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        try:
            writer.write(request)
            await writer.drain()
            received = bytearray()
            while chunk := await reader.read(1 << 16):
                received += chunk
                if len(received) > MAX_BYTES:
                    raise NoAnswer(f"what is at {self.url} answers with more than {MAX_BYTES} bytes: is it the sidecar?")
            return bytes(received)
        finally:
            writer.close()

    def _read(self, received: bytes) -> Answer:
        try:
            answer = http.client.HTTPResponse(_Received(received), method="POST")
            answer.begin()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"what is at {self.url} speaks no HTTP ({error!r}): is it the sidecar?") from None


class _Received:
    """What ``http.client`` takes for a socket: all that came."""

    def __init__(self, received: bytes):
        self.received = received

    def makefile(self, _mode):
        return io.BytesIO(self.received)


def _text(environment, name) -> "str | None":
    """What the file holds that a variable names."""
    if not environment.get(name):
        return None
    try:
        with open(environment[name], encoding="utf-8") as file:
            return file.read(MAX_BYTES).strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None


def _printable(text: str, also: str = "") -> bool:
    return all("!" <= character <= "~" or character in also for character in text)
