"""Run code in a kernel of a remote Jupyter server, with Jupyter's own client.

Arguments: where to connect to, what to ask for there (Host), the token, the code.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial

import websocket
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager


async def main(origin: str, host: str, token: str, code: str) -> None:
    """Print what it prints."""
    gateway = GatewayClient.instance()
    gateway.url, gateway.auth_token = origin, token
    gateway.headers = json.dumps({"Host": host})
    # Of itself this client shows its token in every request but that for the socket.
    websocket.create_connection = partial(
        websocket.create_connection, host=host, header={"Authorization": f"token {token}"}
    )
    manager = GatewayKernelManager()
    await manager.start_kernel(kernel_name="python3")
    kernel = manager.client()
    await kernel.start_channels()
    try:
        asked = kernel.execute(code)
        while True:
            message = await kernel.get_iopub_msg(timeout=60)
            content = message["content"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "stream":
                print(content["text"], end="", flush=True)
            if content.get("execution_state") == "idle":
                break
    finally:
        kernel.stop_channels()
        await manager.shutdown_kernel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
