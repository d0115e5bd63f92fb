"""The index of subscriptions: who subscribes to a topic, found without looking at the other subscriptions."""

from collections.abc import Collection, Hashable, Sequence
from itertools import chain
from typing import Generic, TypeVar

from wsctl.topics import ONE, REST, has_wildcards

M = TypeVar("M", bound=Hashable)
V = TypeVar("V")

FEW = 16
"""Members of a group that are kept in a list, which is searched: in a dictionary one takes three times as
much memory."""

HALF = 8
"""Segments of a pattern that one trie holds. At each level a topic reaches at most twice the nodes of the
level before: those of its segment, and those of `*`. What patterns have beyond these segments is in a trie of
its own, so that whatever patterns there are, one publish visits at most `MOST_VISITED` nodes."""

MOST_VISITED = 2 * (2 ** (HALF + 1) - 1)
"""The nodes of both tries that a topic can reach, each trie with all levels full."""

MOST_CACHED = 65_536
"""Groups that the cache refers to, and topics in it, together: about 5 MB."""


class SubscriptionIndex(Generic[M]):
    """The subscriptions of members to patterns of topics.

    Names of topics are in a dictionary; patterns with wildcards in two tries, by their first segments and by
    the others, which are joined where a pattern has both. Which patterns match a topic is cached until
    a pattern with wildcards gets its first member or loses its last one.

    Attributes:
        visited: nodes of the tries that were visited, since the start.
    """

    def __init__(self) -> None:
        self.visited = 0
        self._size = 0
        self._exact: dict[str, _Group[M]] = {}
        self._wild: dict[str, _Group[M]] = {}
        self._heads: _Node[_Group[M]] = _Node()
        self._tails: _Node[dict[_Node[_Group[M]], _Group[M]]] = _Node()
        self._cached: dict[str, tuple[_Group[M], ...]] = {}
        self._cached_size = 0

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return self._size

    @property
    def topics(self) -> Collection[str]:
        """The names of topics that somebody subscribes to; those of patterns with wildcards are not in it."""
        return self._exact.keys()

    @property
    def patterns(self) -> Collection[str]:
        """The patterns with wildcards that somebody subscribes to."""
        return self._wild.keys()

    def add(self, pattern: str, member: M) -> None:
        """Subscribe a member to a pattern; does nothing if it is already."""
        groups = self._wild if has_wildcards(pattern) else self._exact
        if group := groups.get(pattern):
            self._size += group.add(member)
            return
        group = groups[pattern] = _Group(member)
        self._size += 1
        if groups is self._wild:
            self._plant(pattern, group)

    def remove(self, pattern: str, member: M) -> None:
        """End the subscription of a member to a pattern; does nothing if there is none."""
        groups = self._wild if has_wildcards(pattern) else self._exact
        if group := groups.get(pattern):
            self._size -= group.remove(member)
            if not group.members:
                del groups[pattern]
                if groups is self._wild:
                    self._uproot(pattern)

    def matching(self, topic: str) -> list[M]:
        """Return the members that subscribe to a topic, each once."""
        exact = self._exact.get(topic)
        groups = self._matching_groups(topic) if self._wild else ()
        if not groups:
            return list(exact.members) if exact else []
        if exact:
            groups = (exact, *groups)
        if len(groups) == 1:
            return list(groups[0].members)
        return list(dict.fromkeys(chain(*[group.members for group in groups])))

    def _matching_groups(self, topic: str) -> tuple["_Group[M]", ...]:
        """Return the groups of the patterns with wildcards that match."""
        found = self._cached.get(topic)
        if found is None:
            found = tuple(self._find(topic.split(".")))
            self._cached_size += 1 + len(found)
            if self._cached_size > MOST_CACHED:
                self._forget()
            else:
                self._cached[topic] = found
        return found

    def _find(self, segments: Sequence[str]) -> list["_Group[M]"]:
        found, ends = self._walk(self._heads, segments[:HALF])
        if len(segments) <= HALF:
            return found + [node.here for node in ends if node.here is not None]
        if ends and not self._tails.is_bare:
            heads = set(ends)
            joints, tails = self._walk(self._tails, segments[HALF:])
            joints += [node.here for node in tails if node.here is not None]
            for joint in joints:
                found += [joint[head] for head in heads & joint.keys()]
        return found

    def _walk(self, root: "_Node[V]", segments: Sequence[str]) -> tuple[list[V], list["_Node[V]"]]:
        """Return what stands at the nodes on the way for any rest, and the nodes where the segments lead."""
        found: list[V] = []
        level = [root]
        for segment in segments:
            reached: list[_Node[V]] = []
            self.visited += len(level)
            for node in level:
                if node.rest is not None:
                    found.append(node.rest)
                if node.label == segment:
                    reached.append(node.child)
                elif node.children and (child := node.children.get(segment)):
                    reached.append(child)
                if node.any is not None:
                    reached.append(node.any)
            level = reached
            if not level:
                break
        self.visited += len(level)
        return found, level

    def _plant(self, pattern: str, group: "_Group[M]") -> None:
        self._forget()
        segments = pattern.split(".")
        if len(segments) <= HALF:
            _put(_path(self._heads, segments)[-1], segments[-1], group)
            return
        head = _path(self._heads, segments[:HALF])[-1]
        tail = _path(self._tails, segments[HALF:])[-1]
        joint = _at(tail, segments[-1])
        if joint is None:
            _put(tail, segments[-1], joint := {})
        joint[head] = group
        head.joints += 1

    def _uproot(self, pattern: str) -> None:
        self._forget()
        segments = pattern.split(".")
        heads = _path(self._heads, segments[:HALF])
        if len(segments) <= HALF:
            _put(heads[-1], segments[-1], None)
        else:
            tails = _path(self._tails, segments[HALF:])
            joint = _at(tails[-1], segments[-1]) or {}
            del joint[heads[-1]]
            heads[-1].joints -= 1
            if not joint:
                _put(tails[-1], segments[-1], None)
                _prune(tails, segments[HALF:])
        _prune(heads, segments)

    def _forget(self) -> None:
        self._cached.clear()
        self._cached_size = 0


class _Group(Generic[M]):
    """The members that subscribe to one pattern, in the order in which they came."""

    __slots__ = ("members",)

    def __init__(self, first: M) -> None:
        self.members: list[M] | dict[M, None] = [first]

    def add(self, member: M) -> bool:
        """Take a member in; return whether it was not in it."""
        if member in self.members:
            return False
        if isinstance(self.members, dict):
            self.members[member] = None
        elif len(self.members) < FEW:
            self.members.append(member)
        else:
            self.members = dict.fromkeys([*self.members, member])
        return True

    def remove(self, member: M) -> bool:
        """Let a member go; return whether it was in it."""
        if member not in self.members:
            return False
        if isinstance(self.members, list):
            self.members.remove(member)
        else:
            del self.members[member]
            if len(self.members) <= FEW // 2:
                self.members = list(self.members)
        return True


class _Node(Generic[V]):
    """A place in a trie, which the segments before it lead to.

    Attributes:
        label, child: the next segment of most places, and the place behind it.
        children: the places behind other segments; None where there are none.
        any: the place behind `*`.
        here: what stands for the pattern that ends here.
        rest: what stands for the pattern that goes on with `>`.
        joints: patterns that go on from here in the trie of the other segments.
    """

    __slots__ = ("any", "child", "children", "here", "joints", "label", "rest")

    child: "_Node[V]"

    def __init__(self) -> None:
        self.label: str | None = None
        self.children: dict[str, _Node[V]] | None = None
        self.any: _Node[V] | None = None
        self.here: V | None = None
        self.rest: V | None = None
        self.joints = 0

    @property
    def is_bare(self) -> bool:
        """True if no pattern needs it."""
        is_leaf = self.label is None and not self.children and self.any is None
        return is_leaf and not self.joints and self.here is None and self.rest is None

    def next(self, segment: str) -> "_Node[V]":
        """Return the place behind a segment, which is made if it is not there."""
        if segment == ONE:
            self.any = self.any or _Node()
            return self.any
        if self.label == segment:
            return self.child
        if self.children and segment in self.children:
            return self.children[segment]
        node: _Node[V] = _Node()
        if self.label is None:
            self.label, self.child = segment, node
        elif self.children is None:
            self.children = {segment: node}
        else:
            self.children[segment] = node
        return node

    def drop(self, segment: str) -> None:
        """Remove the place behind a segment, which is there."""
        if segment == ONE:
            self.any = None
        elif self.label == segment:
            self.label = None
            del self.child
        elif self.children:
            del self.children[segment]
            self.children = self.children or None


def _path(root: _Node[V], segments: Sequence[str]) -> list[_Node[V]]:
    """Return the nodes from the root to where a pattern stands, which are made where there are none."""
    nodes = [root]
    for segment in segments:
        if segment != REST:
            nodes.append(nodes[-1].next(segment))
    return nodes


def _at(node: _Node[V], last: str) -> V | None:
    """Return what stands at a node for patterns with this last segment."""
    return node.rest if last == REST else node.here


def _put(node: _Node[V], last: str, value: V | None) -> None:
    if last == REST:
        node.rest = value
    else:
        node.here = value


def _prune(nodes: Sequence[_Node[V]], segments: Sequence[str]) -> None:
    """Remove the nodes of a path that no pattern needs any more."""
    for parent, node, segment in reversed(list(zip(nodes, nodes[1:], segments, strict=False))):
        if node.is_bare:
            parent.drop(segment)
