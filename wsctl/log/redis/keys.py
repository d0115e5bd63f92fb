"""The names of the keys in Redis; `scripts` tells what each of them holds."""

from dataclasses import dataclass


@dataclass(slots=True)
class Keys:
    """The names one node uses. The braces put all of them into one slot of a cluster.

    Attributes:
        node: the node's name; another one when a process goes on as the node of its predecessor.
    """

    prefix: str
    node: str

    @property
    def base(self) -> str:
        return f"{{{self.prefix}}}:v1"

    @property
    def log(self) -> str:
        return f"{self.base}:log"

    @property
    def inbox(self) -> str:
        return f"{self.base}:inbox:{self.node}"

    def at(self, node: str) -> str:
        return f"{self.base}:at:{node}"
