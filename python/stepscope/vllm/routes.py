"""``/start_profile`` and ``/stop_profile`` in vLLM's own API server, handed on to the sidecar.

For clients that profile the server they load and know no other address, ``vllm bench serve --profile`` among them. Entry
point group ``vllm.endpoint_plugins``: vLLM mounts nothing of it unless ``VLLM_PLUGINS`` names ``stepscope_routes``. It calls
``attach_router`` once in every API server process; each of several hands on to the same sidecar, which alone knows what runs.

What always holds:

- **vLLM's own routes stay.** It mounts them for ``--profiler-config.profiler``, before ours. vLLM would put a plugin's API route
  in their place; ours are none where it has them, and else are plain routes behind all others, which replace nothing.
- The event loop never waits: a caller's body and the sidecar's answer are bounded in bytes and time, calls in number.
- The caller's ``Authorization`` is not passed on; ``STEPSCOPE_TOKEN`` is. Where vLLM has an API key the caller has to bring it,
  though vLLM itself asks for it below ``/v1`` only: what opens the sidecar must not be open to everybody.
- Errors have vLLM's shape. Those of the sidecar come through as they are.
- Nothing raises into vLLM: what can't be mounted is said in its log.
"""

import asyncio
import hmac
import os

from stepscope.vllm.sidecar import MAX_BYTES, Answer, NoAnswer, Sidecar
from stepscope.vllm.state import plugin

NAME = "stepscope_routes"
PATHS = ("/start_profile", "/stop_profile")
#: How long the sidecar has, and a caller with its body, seconds.
PATIENCE_S = 2.0
BODY_PATIENCE_S = 10.0
#: The longest ``?wait=`` of a stop that the sidecar grants.
LONGEST_WAIT_S = 600.0
#: Calls at a time in one API server.
ROOM = 16
#: A caller's headers that the sidecar gets to see: what the body is, and whether a web page of somebody else asks.
PASSED_ON = ("content-type", "origin", "sec-fetch-site")
#: The sidecar's that the caller gets to see.
PASSED_BACK = ("allow", "content-type", "retry-after")
#: How a sidecar calls itself that looks for vLLM's own profiler here: ours would send the call back to it.
SIDECAR = "stepscope-serve/"


class Refused(Exception):
    """An answer of our own."""

    def __init__(self, status: int, kind: str, message: str):
        super().__init__(message)
        self.status, self.kind = status, kind


class Routes:
    """vLLM's ``EndpointPlugin``."""

    name = NAME
    required_tasks = None

    def __init__(self):
        self.sidecar = Sidecar()
        self.keys: list = []
        self.running = 0

    def attach_router(self, app) -> None:
        try:
            self._attach(app)
        except Exception as error:
            plugin.problem("routes", error)

    async def init_state(self, engine_client, state, args) -> None:
        """Nothing to set up: the engine is not asked for anything."""

    def _attach(self, app) -> None:
        from starlette.routing import Route

        arguments = getattr(app.state, "args", None)
        own = getattr(getattr(arguments, "profiler_config", None), "profiler", None)
        taken = sorted({path for route in app.routes if (path := getattr(route, "path", None)) in PATHS})
        if own is not None or taken:
            raise NotMounted(f"vLLM's own profiler ({own or taken}) has /start_profile here, ours is at the sidecar alone")
        if self.sidecar.trouble:
            plugin.problem("routes", self.sidecar.trouble)
        names = os.environ.get("VLLM_PLUGINS", "").split(",")
        if "stepscope" not in names:
            plugin.problem("routes", "VLLM_PLUGINS does not name stepscope too: no rank of this engine will be seen")
        given = getattr(arguments, "api_key", None) or [os.environ.get("VLLM_API_KEY")]
        self.keys = [key.encode() for key in given if key]
        for path in PATHS:
            app.router.routes.append(Route(path, self._endpoint, methods=["GET", "POST"], include_in_schema=False))

    async def _endpoint(self, request):
        from starlette.responses import Response

        answer = await self.answer(request)
        headers = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
        return Response(answer.body, answer.status, headers)

    async def answer(self, request) -> Answer:
        """What the caller gets; ``request`` is Starlette's."""
        try:
            if request.headers.get("user-agent", "").startswith(SIDECAR):
                raise Refused(404, "NotFoundError", "vLLM's own profiler is not enabled, and ours is at the sidecar that asks")
            if request.method != "POST":
                raise Refused(405, "MethodNotAllowedError", "POST it")
            if self.keys and not self._brings_key(request.headers.get("authorization", "")):
                raise Refused(401, "UnauthorizedError", "this server asks for its API key: send `Authorization: Bearer <key>`")
            if self.running >= ROOM:
                raise Refused(503, "ServiceUnavailableError", f"{ROOM} calls at once are all that are taken: try again")
            self.running += 1
            try:
                return await self._hand_on(request)
            finally:
                self.running -= 1
        except Refused as refused:
            return _error(refused.status, refused.kind, str(refused))
        except NoAnswer as error:
            return _error(503, "ServiceUnavailableError", str(error))
        except Exception as error:
            plugin.problem("a call", error)
            return _error(500, "InternalServerError", f"stepscope: {error!r}")

    async def _hand_on(self, request) -> Answer:
        try:
            body = await asyncio.wait_for(_body(request), BODY_PATIENCE_S)
        except (asyncio.TimeoutError, TimeoutError):
            raise Refused(408, "BadRequestError", f"the body did not arrive within {BODY_PATIENCE_S:g} s") from None
        path = next(path for path in PATHS if request.url.path.endswith(path))
        target = f"{path}?{request.url.query}" if request.url.query else path
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        return await self.sidecar.post(target, headers, body, PATIENCE_S + _wait_s(request))

    def _brings_key(self, authorization: str) -> bool:
        scheme, _, brought = authorization.partition(" ")
        known = [hmac.compare_digest(brought.encode(), key) for key in self.keys]
        return scheme.lower() == "bearer" and any(known)


class NotMounted(Exception):
    """Why the routes are not there."""


async def _body(request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(413, "BadRequestError", f"the body is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _wait_s(request) -> float:
    try:
        wait_s = float(request.query_params.get("wait", 0))
    except ValueError:
        return 0.0
    return min(wait_s, LONGEST_WAIT_S) if wait_s >= 0 else 0.0  # what is wrong the sidecar says


def _error(status: int, kind: str, message: str) -> Answer:
    from json import dumps

    error = {"message": message, "type": kind, "param": None, "code": status}
    headers = {"content-type": "application/json", **({"allow": "POST"} if status == 405 else {})}
    return Answer(status, headers, dumps({"error": error}).encode())
