"""The widest group: rows that share a patient or any wider id, directly or through others, belong together."""

from collections.abc import Sequence


def widest_groups(patients: Sequence[str], wider: Sequence[Sequence[str | None]]) -> list[str]:
    """The group of each row: its connected component over the patient and all wider ids.

    A group is named by the first wider id met in it, or by the patient where there is none, so a table whose patients nest
    in one group column keeps that column's names. A blank wider id joins nothing.
    """
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row, patient in enumerate(patients):
        person = root((0, patient))
        for depth, column in enumerate(wider, start=1):
            name = column[row]
            if name is not None:
                parent[root((depth, name.strip()))] = person = root(person)
    names: dict[tuple[int, str], str] = {}
    for row, patient in enumerate(patients):
        top = root((0, patient))
        found = next((column[row] for column in wider if column[row] is not None), None)
        if found is not None:
            names.setdefault(top, str(found).strip())
    return [names.get(root((0, patient)), patient) for patient in patients]
