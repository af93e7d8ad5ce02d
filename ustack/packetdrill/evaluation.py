"""The values of expressions: symbols become numbers, the rest stays as the script has it."""

from __future__ import annotations

from types import EllipsisType

from ustack.packetdrill.problems import Failed, Unsupported
from ustack.packetdrill.script import Apply, Array, Either, Expression, Field, Name, Structure
from ustack.packetdrill.symbols import value_of

_ADDRESSES = frozenset(("inet_addr", "inet6_addr"))
Value = int | bytes | EllipsisType | Array | Structure


def evaluate(expression: Expression) -> Value:
    """The value of an argument.  Raises Unsupported for unknown symbols and functions."""
    match expression:
        case Name(text):
            return value_of(text)
        case Either(left, right):
            return integer(left) | integer(right)
        case Apply(name, (argument,)) if name == "htons":
            return evaluate(argument)
        case Apply(name, (argument,)) if name in _ADDRESSES:
            return evaluate(argument)
        case Apply(name, _):
            raise Unsupported(f"the function {name}() is not known")
        case Field(name, _, _):
            raise Failed(f"{name} = … stands where a value is wanted")
        case _:
            return expression


def integer(expression: Expression) -> int:
    """A number.  Raises Failed for anything else."""
    value = evaluate(expression)
    if not isinstance(value, int):
        raise Failed(f"expected a number, found {describe(value)}")
    return value


def bracketed(expression: Expression) -> int:
    """The number in `[n]`."""
    if isinstance(expression, Array) and len(expression.items) == 1:
        return integer(expression.items[0])
    raise Failed(f"expected [number], found {describe(expression)}")


def array(expression: Expression) -> tuple[Expression, ...]:
    """The items of `[…]`."""
    if not isinstance(expression, Array):
        raise Failed(f"expected […], found {describe(expression)}")
    return expression.items


def structure(expression: Expression) -> dict[str, Expression]:
    """The members of `{a = 1, …}`."""
    if not isinstance(expression, Structure):
        raise Failed(f"expected {{…}}, found {describe(expression)}")
    return expression.fields()


def is_null(expression: Expression) -> bool:
    """Whether a buffer is the null pointer; `...` is a real one."""
    if expression is ...:
        return False
    if evaluate(expression) == 0:
        return True
    raise Failed("Expected ... or NULL for buffer")


def describe(value: object) -> str:
    """A value for messages."""
    if value is ...:
        return "..."
    return {Array: "[…]", Structure: "{…}", bytes: "a string"}.get(type(value), repr(value))
