"""The front end of vLLM 0.32's shape: a task that would process outputs."""

import asyncio
from types import SimpleNamespace

from vllm.v1.engine.output_processor import OutputProcessor


class AsyncLLM:
    def __init__(self, vllm_config, client_count=1, client_index=0):
        self.vllm_config, self._client_count = vllm_config, client_count
        self.engine_core = SimpleNamespace(client_index=client_index)
        self.output_processor = OutputProcessor()
        self.output_handler = None
        self._run_output_handler()

    def _run_output_handler(self):
        if self.output_handler is None:
            self.output_handler = asyncio.create_task(asyncio.sleep(3600))
