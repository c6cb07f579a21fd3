"""Nodes of the cluster: what they have, why they take no work, and keeping work off them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clusters.backends.base import BackendUnavailable, GpuDescription, NodeDescription
from clusters.backends.slurm.cli import Tools, last_line

NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
GPUS = re.compile(r"gpu(?::(?P<kind>[A-Za-z_][\w.-]*))?:(?P<count>\d+)")
IN_USE = re.compile(r"gres/gpu=(\d+)")
# Parts of a node's state in which it takes no work; what follows them are marks such as "*".
PROBLEMS = (
    "DOWN", "DRAIN", "FAIL", "FUTURE", "MAINT", "NOT_RESPONDING", "PERFCTRS", "POWERED_DOWN",
    "POWERING_DOWN", "REBOOT", "UNKNOWN", "*",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A line of `scontrol show node`; `began` is when its slurmd did, 0 where that is not told."""

    name: str
    address: str
    state: str
    partitions: tuple[str, ...]
    gres: str
    in_use: int
    reason: str
    began: int

    @property
    def is_away(self) -> bool:
        """Whether its slurmd does not answer."""
        parts = self.state.replace("*", "+NOT_RESPONDING").split("+")
        return not {"DOWN", "NOT_RESPONDING"}.isdisjoint(parts)


class Nodes:
    """The nodes of one cluster."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cluster = ""

    def describe(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        """Nodes of a pool, in Slurm's order, from one call. Raises BackendUnavailable.

        A GPU's uuid is made of its place: Slurm knows no other. Its memory is not known (0).
        """
        cluster = self._cluster_name()
        partition, wanted = options.get("partition", ""), options.get("gpu_type", "")
        found = []
        for node in self._read():
            if partition and partition not in node.partitions:
                continue
            gpus = _gpus(node, cluster, wanted)
            if gpus:
                problem = _problem(node)
                found.append(NodeDescription(node.name, gpus, problem, node.in_use))
        return found

    def drain(self, name: str, reason: str) -> None:
        """Keep new work off the node. Raises BackendUnavailable."""
        words = " ".join(reason.split())[:200] or "drained by FastGPU"
        node = self._named(name)
        if "DRAIN" in node.state and node.reason.startswith(words):
            return
        self._update(name, "State=DRAIN", f"Reason={words}")

    def undrain(self, name: str) -> None:
        """Let the node take work again; one that is not drained is left alone."""
        if "DRAIN" in self._named(name).state:
            try:
                self._update(name, "State=RESUME")
            except BackendUnavailable:
                # Slurm refuses to resume what somebody resumed meanwhile.
                if "DRAIN" in self._named(name).state:
                    raise

    def address(self, name: str) -> str:
        """Where Slurm reaches the node. Raises BackendUnavailable."""
        found = self._named(name).address
        if not ADDRESS.fullmatch(found):
            raise BackendUnavailable(f"{name}: {found!r} is no address.")
        return found

    def _update(self, name: str, *words: str) -> None:
        answer = self._tools.run("scontrol", "update", f"NodeName={name}", *words)
        if answer.status != 0:
            raise BackendUnavailable(f"{name}: {last_line(answer.error)}")

    def _named(self, name: str) -> Node:
        if not NODE.fullmatch(name):
            raise BackendUnavailable(f"{name!r} cannot name a node.")
        for node in parse_nodes(self._tools.ask("scontrol", "--oneliner", "show", "node", name)):
            return node
        raise BackendUnavailable(f"Slurm knows no node {name}.")

    def _read(self) -> list[Node]:
        return list(parse_nodes(self._tools.ask("scontrol", "--oneliner", "show", "node")))

    def _cluster_name(self) -> str:
        if not self._cluster:
            text = self._tools.ask("scontrol", "show", "config").decode(errors="replace")
            found = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.MULTILINE)
            if found is None:
                raise BackendUnavailable("Slurm does not say what the cluster is called.")
            self._cluster = found.group(1)
        return self._cluster


def parse_nodes(answer: bytes) -> Iterator[Node]:
    """The nodes in what `scontrol --oneliner show node` printed."""
    for line in answer.decode(errors="replace").splitlines():
        if line.startswith("NodeName="):
            # Only these hold no blanks; the reason is last and may hold anything.
            head, _, reason = line.partition(" Reason=")
            words = dict(word.split("=", 1) for word in head.split() if "=" in word)
            began = words.get("SlurmdStartTime", "")
            in_use = IN_USE.search(words.get("AllocTRES", ""))
            yield Node(
                name=words["NodeName"],
                address=words.get("NodeAddr", words["NodeName"]),
                state=words.get("State", "UNKNOWN"),
                partitions=tuple(words.get("Partitions", "").split(",")),
                gres=words.get("Gres", ""),
                in_use=int(in_use.group(1)) if in_use else 0,
                began=int(began) if began.isdigit() else 0,
                reason=re.sub(r" \[[^\]]*\](?: Comment=.*)?$", "", reason.strip()),
            )


def _gpus(node: Node, cluster: str, wanted: str) -> tuple[GpuDescription, ...]:
    found: list[GpuDescription] = []
    for match in GPUS.finditer(node.gres):
        kind = match["kind"] or ""
        if wanted and kind != wanted:
            continue
        for _ in range(int(match["count"])):
            index = len(found)
            uuid = f"{cluster}/{node.name}/gpu{index}"
            found.append(GpuDescription(uuid, index, kind.upper() or "GPU", 0, is_virtual=False))
    return tuple(found)


def _problem(node: Node) -> str:
    if not any(part in node.state for part in PROBLEMS):
        return ""
    state = node.state.lower().replace("+", " ").replace("*", " (not answering)")
    return f"{state}: {node.reason}" if node.reason else state
