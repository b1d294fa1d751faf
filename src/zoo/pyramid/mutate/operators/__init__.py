"""The table of operators: a file a subject, a row an operator."""

from zoo.pyramid.mutate.operators import attention, backward, flow_table, layers_table, tensors
from zoo.pyramid.mutate.operators.base import Operator

OPERATORS: dict[str, Operator] = {
    row.name: row
    for row in (
        *attention.OPERATORS,
        *tensors.OPERATORS,
        *layers_table.OPERATORS,
        *flow_table.OPERATORS,
        *backward.OPERATORS,
    )
}

__all__ = ["OPERATORS", "Operator"]
