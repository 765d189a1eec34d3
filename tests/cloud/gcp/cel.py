"""The expressions of attribute mappings and conditions: as much of CEL as set-up guides use.

Literals (texts, whole numbers, `true`, `false`, lists), fields (`a.b`, `a['b']`), `+`, `==`, `!=`, `in`, `&&`, `||`,
`!`, `C ? X : Y`, `startsWith`, `endsWith`, `contains`, `has`. Everything else is refused when the expression is set,
never ignored: an ignored condition would open what it was meant to close. Source: the CEL language definition; as
there, the value of `&&` and `||` may be known although one side fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Evaluate = Callable[[Mapping[str, Any]], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")|(?P<number>[0-9]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<sign>==|!=|&&|\|\||[-+.,()\[\]!?:]))"""
)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}
_METHODS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}
_CONSTANTS = {"true": True, "false": False}
_DEPTH = 40


class ExpressionError(Exception):
    """The text is no expression, or one that is not implemented here."""


class EvaluationError(Exception):
    """The expression has no value for this assertion: a field is missing, or a type is wrong."""


class Expression:
    """An expression, parsed."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        """Parse `text`, in which the variables `names` may be used.

        Raises:
            ExpressionError: it can't be.
        """
        self.text = text
        self._evaluate = _Parser(text, names).whole()

    def value(self, scope: Mapping[str, Any]) -> Any:
        """The value, given the variables' values.

        Raises:
            EvaluationError: there is none.
        """
        return self._evaluate(scope)


class _Parser:
    """Recursive descent; every rule returns what evaluates it."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self._names = names
        self._tokens: list[tuple[str, str]] = []
        self._depth = 0
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ExpressionError(f"{text[position:][:20]!r} is not understood by the local cloud")
            self._tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()

    def whole(self) -> Evaluate:
        found = self._choice()
        if self._tokens:
            raise ExpressionError(f"{self._tokens[0][1]!r} is not expected, or not implemented by the local cloud")
        return found

    def _take(self, *signs: str) -> str | None:
        """The next token if it is one of `signs`."""
        if self._tokens and self._tokens[0][0] in {"sign", "name"} and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return None

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise ExpressionError(f"{sign!r} is missing")

    def _choice(self) -> Evaluate:
        self._depth += 1
        if self._depth > _DEPTH:
            raise ExpressionError("too deep for the local cloud")
        condition = self._either()
        if self._take("?"):
            yes = self._choice()
            self._need(":")
            no = self._choice()
            found: Evaluate = lambda scope: yes(scope) if _truth(condition(scope)) else no(scope)  # noqa: E731
        else:
            found = condition
        self._depth -= 1
        return found

    def _either(self) -> Evaluate:
        found = self._both()
        while self._take("||"):
            found = _logic(found, self._both(), decisive=True)
        return found

    def _both(self) -> Evaluate:
        found = self._relation()
        while self._take("&&"):
            found = _logic(found, self._relation(), decisive=False)
        return found

    def _relation(self) -> Evaluate:
        found = self._sum()
        while sign := self._take("==", "!=", "in"):
            found = _relation(sign, found, self._sum())
        return found

    def _sum(self) -> Evaluate:
        found = self._negation()
        while self._take("+"):
            found = _sum(found, self._negation())
        return found

    def _negation(self) -> Evaluate:
        if not self._take("!"):
            return self._field()
        self._depth += 1
        if self._depth > _DEPTH:
            raise ExpressionError("too deep for the local cloud")
        negated = self._negation()
        self._depth -= 1
        return lambda scope: not _truth(negated(scope))

    def _field(self) -> Evaluate:
        found = self._primary()
        while sign := self._take(".", "["):
            if sign == "[":
                found = _item(found, self._choice())
                self._need("]")
            else:
                name = self._name()
                found = self._call(found, name) if self._take("(") else _member(found, name)
        return found

    def _call(self, subject: Evaluate, name: str) -> Evaluate:
        if name not in _METHODS:
            raise ExpressionError(f"{name!r} is not implemented by the local cloud")
        argument = self._choice()
        self._need(")")
        method = _METHODS[name]
        return lambda scope: method(_text(subject(scope)), _text(argument(scope)))

    def _name(self) -> str:
        if not self._tokens or self._tokens[0][0] != "name":
            raise ExpressionError("a name is missing")
        return self._tokens.pop(0)[1]

    def _primary(self) -> Evaluate:
        if not self._tokens:
            raise ExpressionError("the expression ends too early")
        kind, token = self._tokens.pop(0)
        if kind == "text":
            text = _unquoted(token)
            return lambda _: text
        if kind == "number":
            number = int(token)
            return lambda _: number
        if token == "(":
            found = self._choice()
            self._need(")")
            return found
        if token == "[":
            items = self._items()
            return lambda scope: [item(scope) for item in items]
        if kind == "name":
            return self._variable(token)
        raise ExpressionError(f"{token!r} is not expected, or not implemented by the local cloud")

    def _items(self) -> list[Evaluate]:
        items: list[Evaluate] = []
        while not self._take("]"):
            if items:
                self._need(",")
            items.append(self._choice())
        return items

    def _variable(self, name: str) -> Evaluate:
        if name in _CONSTANTS:
            constant = _CONSTANTS[name]
            return lambda _: constant
        if name == "has" and self._take("("):
            found = self._choice()
            self._need(")")
            return lambda scope: _there(found, scope)
        if name not in self._names:
            raise ExpressionError(f"undeclared reference to {name!r}")
        return lambda scope: scope[name]


def _unquoted(token: str) -> str:
    def escape(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise ExpressionError(f"the escape {match[0]!r} is not implemented by the local cloud")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", escape, token[1:-1])


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EvaluationError("no such overload: a condition must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EvaluationError("no such overload: not a string")
    return value


def _there(field: Evaluate, scope: Mapping[str, Any]) -> bool:
    try:
        field(scope)
    except EvaluationError:
        return False
    return True


def _logic(left: Evaluate, right: Evaluate, *, decisive: bool) -> Evaluate:
    """`||` (true decides) or `&&` (false decides); what decides does so even where the other side fails."""

    def evaluate(scope: Mapping[str, Any]) -> bool:
        try:
            first = _truth(left(scope))
        except EvaluationError:
            if _truth(right(scope)) is decisive:
                return decisive
            raise
        return decisive if first is decisive else _truth(right(scope))

    return evaluate


def _relation(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(scope: Mapping[str, Any]) -> bool:
        first, second = left(scope), right(scope)
        if sign == "in":
            if not isinstance(second, list | dict):
                raise EvaluationError("no such overload: not a list or a map")
            return any(_same(first, item) for item in second)
        return _same(first, second) == (sign == "==")

    return evaluate


def _same(first: Any, second: Any) -> bool:
    # In Python, not in CEL, true is 1.
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def _sum(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(scope: Mapping[str, Any]) -> Any:
        first, second = left(scope), right(scope)
        if isinstance(first, str) and isinstance(second, str):
            return first + second
        if isinstance(first, list) and isinstance(second, list):
            return first + second
        raise EvaluationError("no such overload: these can't be added")

    return evaluate


def _member(subject: Evaluate, name: str) -> Evaluate:
    return _item(subject, lambda _: name)


def _item(subject: Evaluate, key: Evaluate) -> Evaluate:
    def evaluate(scope: Mapping[str, Any]) -> Any:
        holder, name = subject(scope), key(scope)
        if isinstance(holder, dict) and isinstance(name, str) and name in holder:
            return holder[name]
        if isinstance(holder, list) and type(name) is int and name < len(holder):
            return holder[name]
        raise EvaluationError(f"no such key: {name}")

    return evaluate
