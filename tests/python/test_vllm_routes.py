"""The profiling routes in vLLM's API server: what passes through them and what does not, and what they say when the sidecar is
not there, or is none. A real ASGI server around the plugin, a real sidecar; the real vLLM is in tests/clients.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import types
import unittest
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from stepscope.vllm import routes, sidecar

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'


class Upstream:
    """What stands where the sidecar should: answers with given bytes, or never; keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def talk(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.asked.append(head.decode() + (await reader.readexactly(length)).decode())
        if self.answer is None:
            await reader.read()
        writer.write(self.answer or b"")
        writer.close()


class Routes(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.things = contextlib.AsyncExitStack()
        self.addAsyncCleanup(self.things.aclose)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * routes.ROOM))
        self.problems = dict(routes.plugin.problems)
        self.environment({"VLLM_PLUGINS": "stepscope,stepscope_routes"})

    def environment(self, variables):
        for name, value in variables.items():
            before = os.environ.get(name)
            os.environ[name] = value
            undo = os.environ.pop if before is None else os.environ.__setitem__
            self.things.callback(undo, name, *([] if before is None else [before]))

    async def upstream(self, answer, tls=None):
        stands = Upstream(answer)
        server = await asyncio.start_server(stands.talk, "127.0.0.1", 0, ssl=tls)
        self.things.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        self.environment({"STEPSCOPE_URL": f"{'https' if tls else 'http'}://127.0.0.1:{port}"})
        return stands

    async def server(self, own=(), **arguments):
        """vLLM's API server, as far as the plugin sees it; ``own``: paths that it has already."""

        async def alive(_request):
            return PlainTextResponse("yes")

        app = Starlette(routes=[Route(path, alive, methods=["GET", "POST"]) for path in ("/health", *own)])
        app.state.args = types.SimpleNamespace(**{"api_key": None, "profiler_config": None, **arguments})
        self.plugin = routes.Routes()
        self.plugin.attach_router(app)
        await self.plugin.init_state(None, app.state, app.state.args)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)

        async def stop():
            server.should_exit = server.force_exit = True
            await serving

        self.things.push_async_callback(stop)

    async def call(self, path, body=b"", method="POST", **headers):
        def talk():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            return answer.status, text, dict(answer.getheaders())

        return await asyncio.to_thread(talk)

    async def error(self, status, words, *arguments, **more):
        code, text, headers = await self.call(*arguments, **more)
        self.assertEqual(code, status, text)
        error = json.loads(text)["error"]
        self.assertEqual((error["code"], headers["content-type"]), (status, "application/json"))
        self.assertEqual({"message", "type", "param", "code"} - set(error), set())
        self.assertIn(words, error["message"])

    async def test_a_call_passes_with_its_body_and_query_and_without_its_authorization(self):
        self.environment({"STEPSCOPE_TOKEN": "ours"})
        stands = await self.upstream(OK)
        await self.server()
        body = b'{"max_iterations": 4}'
        answer = await self.call("/start_profile?job=a", body, content_type="application/json", authorization="Bearer theirs")
        self.assertEqual(answer[:2], (200, b"{}"))
        [asked] = stands.asked
        self.assertTrue(asked.startswith("POST /start_profile?job=a HTTP/1.1\r\n"), asked)
        self.assertTrue(asked.endswith('\r\n\r\n{"max_iterations": 4}'), asked)
        self.assertIn("authorization: Bearer ours\r\n", asked)
        self.assertIn("content-type: application/json\r\n", asked)
        self.assertNotIn("theirs", asked)

    async def test_an_empty_body_is_enough_and_where_a_web_page_is_from_is_passed_on(self):
        stands = await self.upstream(OK)
        await self.server()
        self.assertEqual((await self.call("/stop_profile", origin="http://elsewhere"))[0], 200)
        [asked] = stands.asked
        self.assertIn("origin: http://elsewhere\r\n", asked)
        self.assertNotIn("authorization", asked)

    async def test_what_the_sidecar_answers_comes_through_as_it_is(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % probe.getsockname()[1]
            probe.close()
            command = [os.path.join(os.path.dirname(sys.executable), "stepscope"), "serve", "--listen", address]
            child = subprocess.Popen([*command, "--data", folder, "--dir", os.path.join(folder, "segments")], stderr=subprocess.DEVNULL)
            self.things.callback(child.wait)
            self.things.callback(child.terminate)
            self.environment({"STEPSCOPE_URL": f"http://{address}"})
            await self.server()
            for _ in range(200):
                code, text, _headers = await self.call("/start_profile")
                if b"no_engine" in text:
                    break
                await asyncio.sleep(0.05)
            self.assertEqual((code, json.loads(text)["error"]["reason"]), (503, "no_engine"))
            self.assertEqual(json.loads((await self.call("/stop_profile"))[1])["state"], "idle")
            await self.error(400, "max_iterations", "/start_profile", b'{"max_iterations": "many"}')
            await self.error(403, "web pages", "/start_profile", origin="http://elsewhere")

    async def test_no_sidecar_is_503_and_says_what_to_do(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.environment({"STEPSCOPE_URL": "http://127.0.0.1:%d" % nobody.getsockname()[1]})
            await self.server()
            await self.error(503, "stepscope serve", "/start_profile")

    async def test_a_sidecar_that_does_not_answer_holds_nobody_else(self):
        await self.upstream(None)
        await self.server()
        hangs = asyncio.create_task(self.error(503, "did not answer within 2 s", "/start_profile"))
        while not self.plugin.running:
            await asyncio.sleep(0.01)
        self.assertEqual((await self.call("/health", method="GET"))[:2], (200, b"yes"))
        self.assertFalse(hangs.done())
        await hangs

    async def test_a_stop_that_waits_gets_the_time_it_asks_for(self):
        for query, patience_s in (("wait=30", 32), ("wait=1e9", 602), ("wait=nan", 2), ("wait=x", 2), ("wait=-1", 2), ("", 2)):
            request = types.SimpleNamespace(query_params=dict([query.split("=")] if query else []))
            self.assertEqual(routes.PATIENCE_S + routes._wait_s(request), patience_s, query)

    async def test_too_much_of_either_side_is_refused(self):
        stands = await self.upstream(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(sidecar.MAX_BYTES))
        await self.server()
        await self.error(503, "is it the sidecar?", "/start_profile")
        await self.error(413, "longer than", "/start_profile", bytes(sidecar.MAX_BYTES + 1))
        self.assertEqual(len(stands.asked), 1)

    async def test_what_speaks_no_http_is_no_sidecar(self):
        for answer in (b"", b"\0\1\2", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"):
            with self.subTest(answer):
                await self.upstream(answer)
                await self.server()
                await self.error(503, "speaks no HTTP", "/start_profile")

    async def test_more_calls_than_there_is_room_for_are_told_so(self):
        await self.upstream(None)
        await self.server()
        hang = [asyncio.create_task(self.call("/start_profile")) for _ in range(routes.ROOM)]
        while self.plugin.running < routes.ROOM:
            await asyncio.sleep(0.01)
        await self.error(503, "at once", "/start_profile")
        self.assertEqual({status for status, *_ in await asyncio.gather(*hang)}, {503})
        self.assertEqual(self.plugin.running, 0)

    async def test_where_vllm_has_an_api_key_it_is_asked_for(self):
        stands = await self.upstream(OK)
        await self.server(api_key=["one", "two"])
        await self.error(401, "API key", "/start_profile")
        await self.error(401, "API key", "/start_profile", authorization="Bearer three")
        self.assertEqual((await self.call("/start_profile", authorization="Bearer two"))[0], 200)
        self.assertEqual(len(stands.asked), 1)

    async def test_routes_that_are_there_stay(self):
        await self.upstream(OK)
        await self.server(own=("/start_profile", "/stop_profile"))
        self.assertEqual((await self.call("/start_profile"))[1], b"yes")
        self.assertEqual(routes.plugin.problems["routes"], self.problems.get("routes", 0) + 1)

    async def test_vllms_own_profiler_keeps_its_routes(self):
        await self.upstream(OK)
        await self.server(profiler_config=types.SimpleNamespace(profiler="torch"))
        self.assertEqual((await self.call("/start_profile"))[0], 404)

    async def test_only_posts_are_handed_on(self):
        stands = await self.upstream(OK)
        await self.server()
        status, _, headers = await self.call("/start_profile", method="GET")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        self.assertEqual(stands.asked, [])

    async def test_a_sidecar_that_looks_for_vllms_own_profiler_finds_none(self):
        stands = await self.upstream(OK)
        await self.server(api_key=["one"])
        for method in ("GET", "POST"):
            await self.error(404, "not enabled", "/start_profile", method=method, user_agent="stepscope-serve/0.1.0")
        self.assertEqual(stands.asked, [])

    async def test_settings_that_make_no_sense_are_said_to_whoever_calls(self):
        for name, value, words in (
            ("STEPSCOPE_URL", "127.0.0.1:8001", "has to be like"),
            ("STEPSCOPE_URL", "http://127.0.0.1:port", "has to be like"),
            ("STEPSCOPE_URL", "http://me:secret@127.0.0.1", "has to be like"),
            ("STEPSCOPE_TOKEN", "two words", "no header"),
            ("STEPSCOPE_TOKEN_FILE", "/nowhere", "/nowhere"),
        ):
            with self.subTest(value):
                self.environment({"STEPSCOPE_TOKEN": "", "STEPSCOPE_URL": "", name: value})
                await self.server()
                await self.error(503, words, "/start_profile")
                self.environment({name: ""})

    @unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
    async def test_https_is_spoken_with_whom_a_certificate_is_known_of_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
            line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            name = ["-subj", "/CN=sidecar", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
            subprocess.run([*line, *name, "-out", certificate, "-keyout", key], check=True, capture_output=True)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, key)
            stands = await self.upstream(OK, tls)
            await self.server()
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server is told, and says so
            await self.error(503, "STEPSCOPE_CACERT names", "/start_profile")
            self.environment({"STEPSCOPE_CACERT": certificate})
            await self.server()
            self.assertEqual((await self.call("/start_profile"))[0], 200)
            self.assertEqual(len(stands.asked), 1)

    async def test_a_token_may_be_in_a_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("ours\n")
            file.flush()
            self.environment({"STEPSCOPE_TOKEN_FILE": file.name})
            stands = await self.upstream(OK)
            await self.server()
            await self.call("/start_profile")
        self.assertIn("authorization: Bearer ours\r\n", stands.asked[0])


if __name__ == "__main__":
    unittest.main()
