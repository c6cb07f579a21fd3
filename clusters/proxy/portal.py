"""What the proxy tells the portal, at its API."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from clusters.proxy.settings import Settings

TIMEOUT_SECONDS = 10.0


class PortalAway(Exception):
    """It does not answer, or answers with an error of its own."""


class Portal:
    """The portal's API for its proxy. Made in the event loop; close it in the end."""

    def __init__(self, settings: Settings) -> None:
        self._session = ClientSession(
            f"{settings.portal_url}/api/v1/proxy/",
            headers={"Authorization": f"Bearer {settings.proxy_token}"},
            timeout=ClientTimeout(total=TIMEOUT_SECONDS),
            cookie_jar=DummyCookieJar(),
        )

    async def note_answer(self, app_id: int, failure: str) -> None:
        """A server answers, or `failure` says what it does instead. Raises PortalAway."""
        status, words = await self._post(f"apps/{app_id}/answer", {"failure": failure})
        if status != 200:
            raise PortalAway(words)

    async def choose(self, deed: str, notebook_id: str, user_id: int) -> tuple[int, str]:
        """`keep` or `stop` a notebook as this person; the status and, of a refusal, the words.

        Raises PortalAway.
        """
        return await self._post(f"notebooks/{notebook_id}/{deed}", {"user": user_id})

    async def wake(self, run_id: str, user_id: int) -> tuple[int, str]:
        """Start a terminal's server again as this person; see `choose`. Raises PortalAway."""
        return await self._post(f"terminals/{run_id}/wake", {"user": user_id})

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        try:
            async with self._session.post(path, json=body, allow_redirects=False) as answer:
                if answer.status >= 500:
                    raise PortalAway(f"answers {answer.status}")
                said = await answer.json(content_type=None)
                return answer.status, "" if answer.status == 200 else str(said["error"]["message"])
        except (ClientError, OSError, TimeoutError) as error:
            raise PortalAway(str(error) or type(error).__name__) from error
        except (ValueError, LookupError, TypeError) as error:
            raise PortalAway("answers something else") from error
