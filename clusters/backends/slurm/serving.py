"""Where the servers of attempts listen, on the nodes of the cluster.

The attempt says at which port, in a file that hostile code writes; the machine is the one Slurm has
given it, whatever the file says. So an attempt can lead the proxy to nothing but ports of its own
node, where it can connect by itself.
"""

from __future__ import annotations

from clusters.backends.base import Endpoint, Phase
from clusters.backends.slurm.folders import PORT_FILE, TERMINAL_FILE, Record, SharedFolder
from clusters.backends.slurm.nodes import Nodes
from clusters.backends.slurm.survey import Watch

COMMANDS = ("lab", "tensorboard")
"""What the command of an attempt may serve."""
TERMINAL = "terminal"
"""What is served beside it (terminals.py)."""


class Servers:
    """Finds servers of one cluster."""

    def __init__(self, folders: SharedFolder, nodes: Nodes, watch: Watch) -> None:
        self._folders = folders
        self._nodes = nodes
        self._watch = watch

    def endpoint(self, record: Record, service: str) -> Endpoint | None:
        """See Serving.endpoint. Raises BackendUnavailable."""
        if service == TERMINAL:
            name, token = TERMINAL_FILE, self._folders.terminal_token(record)
        else:
            name, token = PORT_FILE, record.token if service in COMMANDS else ""
        port = self._folders.answer(record, name).port if token else None
        node = self.node_of(record) if port is not None else ""
        if port is None or not node:
            return None
        # Of several, Slurm runs the batch script on the first.
        return Endpoint(host=self._nodes.address(node.partition(",")[0]), port=port, token=token)

    def node_of(self, record: Record) -> str:
        """The node this start of the attempt runs on; "" where it does not. BackendUnavailable."""
        row = self._watch.row_of(record, self._watch.look())
        if row is None or row.phase is not Phase.RUNNING or row.restarts != record.restart:
            return ""
        return row.node
