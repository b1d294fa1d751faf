"""How unregistered things are told: where they are kept, the line that made them, the change."""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from zoo.testing.checks.registration_walk import Hidden

ANYHOW = (
    "hold modules in nn.ModuleList or nn.ModuleDict and tensors in nn.Parameter, set on self in "
    "__init__ under a name of their own"
)


def kept_in(held: Sequence[Hidden]) -> str:
    """Say what hangs where: "self.blocks (a list of 3 Residual)", one by one where it differs."""
    groups: dict[str, list[Hidden]] = {}
    for one in held:
        groups.setdefault(one.root, []).append(one)
    said = []
    for root, group in groups.items():
        plain = all(h.attribute.count("[") == 1 and h.attribute.endswith("]") for h in group)
        if not plain or len({h.holder for h in group}) > 1:
            said += [f"self.{h.attribute} ({h.holder})" for h in group]
            continue
        counts = Counter(type(h.thing).__name__ for h in group)
        what = ", ".join(f"{n} {name}" for name, n in counts.items())
        said.append(f"self.{root} ({group[0].holder} of {what})")
    more = f" and {len(said) - 3} more places" if len(said) > 3 else ""
    return ", ".join(said[:3]) + more


def registering(held: Sequence[Hidden]) -> str:
    """Give the line that registers things, to be copied, where one line does."""
    said = [line for root in dict.fromkeys(h.root for h in held) if (line := change(root, held))]
    if not said:
        return ANYHOW
    return f"{'; '.join(said[:3])} at the end of __init__"


def change(root: str, held: Sequence[Hidden]) -> str:
    """Give the assignment that registers one attribute, or nothing where it is no simple one."""
    group = [h for h in held if h.root == root]
    flat = {f"self.{root}": "plain", f"self.{root}[]": "item"}
    shapes = {flat.get(f"self.{unkeyed(h.attribute)}", "") for h in group}
    modules = {isinstance(h.thing, nn.Module) for h in group}
    holders = {h.holder for h in group}
    if len(shapes) > 1 or len(modules) > 1 or len(holders) > 1 or shapes == {""}:
        return ""
    (holder,) = holders
    if shapes == {"plain"}:
        leaf = all(isinstance(h.thing, Tensor) and h.thing.is_leaf for h in group)
        return f"self.{root} = nn.Parameter(self.{root}.detach())" if leaf else ""
    kinds = {"a list": "List", "a tuple": "List", "a dict": "Dict"}
    if holder not in kinds:
        return ""
    if holder == "a dict" and not all(h.attribute.endswith(("']", '"]')) for h in group):
        return ""  # only names are keys of a ModuleDict
    if modules == {True}:
        return f"self.{root} = nn.Module{kinds[holder]}(self.{root})"
    if all(h.thing.is_leaf for h in group):
        return f"self.{root} = nn.Parameter{kinds[holder]}(self.{root})"
    return ""


def unkeyed(attribute: str) -> str:
    """Leave the key out of "blocks[2]"."""
    head, bracket, rest = attribute.partition("[")
    return f"{head}[]" if bracket and rest.endswith("]") and "[" not in rest else attribute


def made_at(module: nn.Module, held: Hidden) -> str:
    """Give file, line and text of the assignment to an attribute in its class, if it is seen."""
    owner = dict(module.named_modules()).get(held.owner)
    for cls in type(owner).__mro__ if owner is not None else ():
        if cls is nn.Module:
            break
        try:
            source, first = inspect.getsourcelines(cls)
            file = inspect.getsourcefile(cls) or ""
            tree = ast.parse(textwrap.dedent("".join(source)))
        except (OSError, TypeError, SyntaxError):
            continue
        walked = ast.walk(tree)
        rows = sorted(n.lineno for n in walked if isinstance(n, ast.stmt) and assigns(n, held.root))
        if rows:
            return f"{Path(file).name}:{first + rows[0] - 1} {source[rows[0] - 1].strip()}"
    return ""


def assigns(node: ast.stmt, name: str) -> bool:
    """Say whether a statement sets self.name."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return False
    flat = [t for x in targets for t in (x.elts if isinstance(x, ast.Tuple | ast.List) else [x])]
    return any(
        isinstance(t, ast.Attribute)
        and t.attr == name
        and isinstance(t.value, ast.Name)
        and t.value.id == "self"
        for t in flat
    )
