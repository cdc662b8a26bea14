"""Which of the base model's parameters the constants of a graph stand for, so that their sum can be checked."""

from collections import Counter
from pathlib import Path

from stages.lib.formats.shared.graphs.graph_call import read_graph_call
from stages.lib.models.components import empty_component, headers
from stages.lib.models.inventory import StoredTensor, files_beside, operator_of


class ParameterAccounting:
    """The parameters of one component, claimed by the constants of its graph one by one.

    A graph folds some parameters into other constants (a bias with a reshaping) or drops them (a factor of 1). Those
    parameters are a row of their own per operator, without bytes, so that the sum is that of the network that runs.
    """

    def __init__(self, folder: Path, component: str) -> None:
        network = empty_component(folder, component)
        self.folder, self.component = folder, component
        described = read_graph_call(folder, component)
        left_out = tuple(f"{module}." for module in described.left_out)
        self.wanted = {name: item.numel() for name, item in network.named_parameters() if not name.startswith(left_out)}
        self.operators = {name: operator_of(module) for name, module in network.named_modules()}
        self.missing: Counter[str] = Counter()
        for name, elements in self.wanted.items():
            self.missing[self.operator(name)] += elements

    def operator(self, parameter: str) -> str:
        """The operator of the layer that owns a parameter; Other where no layer does."""
        return self.operators.get(parameter.rpartition(".")[0], "Other")

    def stands_for(self, name: str | None, elements: int) -> bool:
        """Whether a constant of `elements` elements is the parameter `name`, which no constant has claimed yet."""
        return name in self.wanted and self.wanted[name] == elements

    def claimed(self, name: str, elements: int, dtype: str, stored_bytes: int) -> StoredTensor:
        """The row of a constant that is the parameter `name`; it is claimed by it."""
        operator = self.operator(name)
        self.missing[operator] -= elements
        del self.wanted[name]
        return StoredTensor(self.component, name, operator, elements, elements, dtype, stored_bytes)

    def rest(self) -> list[StoredTensor]:
        """What lies beside the graph, such as a safety checker's thresholds, and what the graph folded or dropped."""
        rows = []
        if files_beside(self.folder, self.component):
            for header in headers(self.folder, self.component):
                name, elements, stored = header.name, header.elements, header.stored_bytes
                parameters = elements if name in self.wanted else 0
                operator = self.operator(name)
                self.missing[operator] -= parameters
                rows.append(StoredTensor(self.component, name, operator, elements, parameters, header.dtype, stored))
        return rows + [
            StoredTensor(self.component, f"folded into other constants ({operator})", operator, 0, count, "float32", 0)
            for operator, count in sorted(self.missing.items())
            if count
        ]
