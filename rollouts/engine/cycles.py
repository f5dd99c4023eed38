"""Finding what leads back to itself."""

from collections.abc import Iterable, Mapping


def cycles(edges: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The nodes that lead back to themselves, each with the cycle in words. Tarjan's algorithm, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_path: dict[str, None] = {}
    guilty: dict[str, str] = {}
    for root in edges:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        on_path[root] = None
        work = [(root, iter(edges[root]))]
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in edges:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    on_path[target] = None
                    work.append((target, iter(edges[target])))
                    break
                if target in on_path:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = _unwind(on_path, node)
                    if len(component) > 1 or node in edges[node]:
                        words = " → ".join((*component[:10], component[0]))
                        guilty |= dict.fromkeys(component, words)
    return guilty


def _unwind(on_path: dict[str, None], node: str) -> list[str]:
    """Take a finished component from the path."""
    component = []
    while True:
        last, _ = on_path.popitem()
        component.append(last)
        if last == node:
            return component[::-1]
