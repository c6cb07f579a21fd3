"""Which daemons of Slurm were away, so that Slurm heard late how something ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from clusters.backends.slurm.cli import Tools
from clusters.backends.slurm.hostlist import expand
from clusters.backends.slurm.nodes import parse_nodes

RETURN_SECONDS = 60.0
"""A daemon that is back has heard of what ended in its absence this soon: nodes repeat what they
have to say every few seconds. A run that ends later owes its end to no absence."""
BOOTED = re.compile(r"^BOOT_TIME\s*=\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Daemons:
    """Since when slurmctld and each node's slurmd run (epoch seconds), and who is away now."""

    controller_began: int
    node_began: Mapping[str, int]
    away: frozenset[str]

    def any_was_away(self, nodes: str, *, sign: float, ended: float) -> bool:
        """Whether Slurm can have the end of a run on `nodes` too late.

        Its controller or one of the nodes is away now, or began after the last sign of the run
        and not long before the end Slurm has.
        """
        since = max(sign, ended - RETURN_SECONDS)
        names = expand(nodes)
        began = [self.controller_began, *(self.node_began.get(name, 0) for name in names)]
        return any(at > since for at in began) or any(name in self.away for name in names)


def read_daemons(tools: Tools) -> Daemons:
    """Ask Slurm, in two calls whatever the number of nodes. Raises BackendUnavailable."""
    config = tools.ask("scontrol", "show", "config").decode(errors="replace")
    booted = BOOTED.search(config)
    nodes = list(parse_nodes(tools.ask("scontrol", "--oneliner", "show", "node")))
    return Daemons(
        controller_began=int(booted[1]) if booted else 0,
        node_began={node.name: node.began for node in nodes},
        away=frozenset(node.name for node in nodes if node.is_away),
    )
