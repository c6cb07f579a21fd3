"""`python -m billing.sandbox`: serve until stopped."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvicorn

from billing.sandbox.app import create_app
from billing.sandbox.settings import Settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m billing.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--state", type=Path, required=True, help="folder of its own")
    parser.add_argument("--webhook-url", default=os.environ.get("STRIPE_WEBHOOK_URL", ""))
    parser.add_argument("--secret-key", default=os.environ.get("STRIPE_SECRET_KEY", ""))
    parser.add_argument("--webhook-secret", default=os.environ.get("STRIPE_WEBHOOK_SECRET", ""))
    parser.add_argument(
        "--public-url",
        default=os.environ.get("STRIPE_SANDBOX_PUBLIC_URL", ""),
        help="where browsers find the Checkout page; http://HOST:PORT unless given",
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a write takes")
    parser.add_argument("--retry-base", type=float, default=1.0, help="first webhook retry, s")
    found = parser.parse_args()
    if not found.secret_key.startswith("sk_test_"):
        parser.error("the secret key must begin with sk_test_: no real key belongs here")
    if not found.webhook_secret.startswith("whsec_"):
        parser.error("the webhook secret must begin with whsec_")
    if found.webhook_url and not found.webhook_url.startswith(("http://", "https://")):
        parser.error("the webhook URL must begin with http:// or https://")
    return found


def main() -> None:
    """Read the command line and serve."""
    found = _arguments()
    os.umask(0o077)
    settings = Settings(
        state_dir=found.state,
        secret_key=found.secret_key,
        webhook_secret=found.webhook_secret,
        webhook_url=found.webhook_url,
        public_url=found.public_url or f"http://{found.host}:{found.port}",
        latency_s=found.latency,
        retry_base_s=found.retry_base,
    )
    uvicorn.run(
        create_app(settings),
        host=found.host,
        port=found.port,
        log_level="warning",
        ws="none",
        loop="asyncio",  # uvloop costs memory and saves nothing at this size
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    main()
