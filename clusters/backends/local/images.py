"""OCI images as the portal sees them: there or not, and who would run them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clusters.backends.base import EndReason, LaunchRefused
from clusters.backends.local import environments
from clusters.backends.local.oci import OciAway, OciError, OciService
from clusters.backends.local.settings import LocalSettings

ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here, by its id, and whether podman has it (else docker)."""

    id: str
    is_podmans: bool


def find(settings: LocalSettings, image: str) -> Image:
    """The image called `image`. Raises LaunchRefused when it cannot be run here, OciAway.

    Nothing is pulled: which images run on this machine is the operator's choice.
    """
    if not settings.oci_socket:
        raise LaunchRefused(
            "This environment is an image, and no engine for images is set up here: "
            "the operator must set LOCAL_OCI_SOCKET."
        )
    if os.geteuid() != 0:
        raise LaunchRefused("Images are run only where the portal runs as root.")
    try:
        service = OciService(settings.oci_socket, timeout=ASK_SECONDS)
        return Image(service.image_id(image), service.is_podman)
    except OciError as error:
        if error.status != 404:
            raise OciAway(f"the engine for images says: {error}") from error
        raise LaunchRefused(
            f"The image {image} is not on this machine: the operator must load it there, "
            f"for example with `docker pull {image}`.",
            reason=EndReason.IMAGE_MISSING,
        ) from error


def problem(settings: LocalSettings) -> str:
    """Why environments that are images cannot be run now; "" when they can, or there are none."""
    if not environments.has_images(settings.environments):
        return ""
    if not settings.oci_socket:
        return "Some environments are images, but LOCAL_OCI_SOCKET is not set."
    if os.geteuid() != 0:
        return "Some environments are images, which only a portal that is root can run."
    try:
        OciService(settings.oci_socket, timeout=ASK_SECONDS).version()
    except (OciAway, OciError) as error:
        return f"Environments that are images do not run at present: {error}"
    return ""
