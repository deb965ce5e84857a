"""The parser of expressions: a Pratt parser (Pratt, Top down operator precedence, 1973) that checks kinds.

It is written by hand, because most of it is what a parser generator leaves to its user: kinds, limits, and
errors that name the place and what to write instead.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from math import isfinite

from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.reader import TokenReader
from shotwatch_shots.expressions.suggestions import suggestion
from shotwatch_shots.expressions.tokens import Token, TokenKind
from shotwatch_shots.expressions.tree import (
    WINDOWED,
    Application,
    ColumnValue,
    Constant,
    Derivation,
    Expression,
    Function,
    ValueKind,
    nodes,
)

MOST_PULSES = 1000
"""Maximum length of a window: 100 s at 10 Hz."""
LONGEST_NAME = 60
"""Maximum length of the name of a derived column."""

Columns = Mapping[str, ValueKind]
"""The columns that an expression may read, by name."""

_COMPARISONS: Mapping[str, Function] = {
    **{each.value: each for each in Function if each.value in ("=", "!=", "<", "<=", ">", ">=")},
    "==": Function.EQUAL,
    "<>": Function.UNEQUAL,
}
_BINDING = {"or": 1, "and": 2, "+": 5, "-": 5, "*": 6, "/": 6}
_BINDING |= dict.fromkeys((*_COMPARISONS, "between", "in", "is", "not"), 4)
"""How tightly each infix operator binds its operands."""
_NOT_BINDING, _NEGATE_BINDING = 3, 7
_ORDERED = (ValueKind.NUMBER, ValueKind.TIME)
_NAMED = {each.value: each for each in (Function.ABS, Function.LOG10, Function.SQRT, *sorted(WINDOWED))}


def parse_filter(text: str, columns: Columns) -> Expression:
    """Parse an expression that is true or false for each shot.

    Raises:
        ExpressionError: the text is not such an expression, or it is too long, too deep or too large.
    """
    return _parsed(text, columns, "a filter", ValueKind.TRUTH)


def parse_number(text: str, columns: Columns) -> Expression:
    """Parse an expression that is a number for each shot.

    Raises:
        ExpressionError: the text is not such an expression, or it is too long, too deep or too large.
    """
    return _parsed(text, columns, "an aggregated value", ValueKind.NUMBER)


def parse_derivation(text: str, columns: Columns) -> Derivation:
    """Parse `name = expression`, where the expression is a number, or true or false.

    Raises:
        ExpressionError: the text is not a derivation, or there is a column of this name already.
    """
    parser = _Parser(text, columns)
    name = parser.new_name()
    start = parser.current.start
    expression = parser.whole()
    parser.require(expression, start, "a derived column", ValueKind.NUMBER, ValueKind.TRUTH)
    return Derivation(name, expression)


def _parsed(text: str, columns: Columns, what: str, kind: ValueKind) -> Expression:
    parser = _Parser(text, columns)
    expression = parser.whole()
    parser.require(expression, 0, what, kind)
    return expression


class _Parser(TokenReader):
    """A text that is being parsed, from the current token on."""

    def __init__(self, text: str, columns: Columns) -> None:
        super().__init__(text)
        self._columns = columns

    def whole(self) -> Expression:
        """Parse up to the end of the text."""
        expression = self._expression(0)
        self.require_end()
        return expression

    def new_name(self) -> str:
        """Parse the name of a derived column and the `=` after it."""
        name = self.next()
        if name.kind is not TokenKind.NAME or not self.current.is_symbol("="):
            raise self.error(name, "a derived column begins with its name and =, such as ratio = a / b")
        if len(name.text) > LONGEST_NAME:
            raise self.error(name, f"the name of a derived column has {LONGEST_NAME} characters at most")
        if name.text in self._columns:
            raise self.error(name, "there is a column of this name already")
        self.next()
        return name.text

    def require(self, expression: Expression, start: int, what: str, *kinds: ValueKind) -> None:
        """Require that a part of the text, from `start` to the current token, is of one of these kinds."""
        if expression.kind not in kinds:
            reason = f"{what} is {' or '.join(kinds)}, and this is {expression.kind}"
            raise ExpressionError(self.text, start, max(self.end, start + 1), reason)

    def _expression(self, binding: int) -> Expression:
        """Parse an expression whose operators bind more tightly than `binding`."""
        with self.nested():
            start = self.current.start
            left = self._prefix()
            while _BINDING.get(self.operator, 0) > binding:
                left = self._infix(left, start)
        return left

    def _prefix(self) -> Expression:
        token = self.next()
        match token.kind:
            case TokenKind.NUMBER:
                return self._number(token)
            case TokenKind.TEXT:
                return self._made(Constant(token.text, ValueKind.TEXT))
            case TokenKind.TIME:
                return self._time(token)
            case TokenKind.QUOTED_NAME:
                return self._column(token)
        if token.is_keyword("true", "false"):
            return self._made(Constant(token.text == "true", ValueKind.TRUTH))
        if token.is_keyword("not"):
            return self._not(self._operand(token, _NOT_BINDING, ValueKind.TRUTH))
        if token.is_symbol("-"):
            return self._negated(self._operand(token, _NEGATE_BINDING, ValueKind.NUMBER))
        if token.is_symbol("("):
            inside = self._expression(0)
            self.take(")")
            return inside
        if token.kind is TokenKind.NAME and token.text not in _BINDING:
            return self._call(token) if self.current.is_symbol("(") else self._column(token)
        raise self.error(token, "here a value is expected: a column, a number, a 'text' or a time")

    def _infix(self, left: Expression, start: int) -> Expression:
        token = self.next()
        if token.text in ("and", "or"):
            self.require(left, start, f"what stands before {token.text}", ValueKind.TRUTH)
            right = self._operand(token, _BINDING[token.text], ValueKind.TRUTH)
            return self._made(Application(Function(token.text), (left, right), ValueKind.TRUTH))
        if token.is_symbol("+", "-", "*", "/"):
            self.require(left, start, f"what stands before {token.text}", ValueKind.NUMBER)
            right = self._operand(token, _BINDING[token.text], ValueKind.NUMBER)
            return self._made(Application(Function(token.text), (left, right), ValueKind.NUMBER))
        compared = self._is_missing(left) if token.is_keyword("is") else self._compared(token, left)
        if _BINDING.get(self.operator, 0) == _BINDING[token.text]:
            raise self.error(self.current, "comparisons do not follow each other: join them by `and`")
        return compared

    def _compared(self, token: Token, left: Expression) -> Expression:
        if token.text in _COMPARISONS:
            right_start = self.current.start
            right = self._expression(_BINDING[token.text])
            return self._comparison(_COMPARISONS[token.text], left, right, (token, right_start))
        if not token.is_keyword("not"):
            return self._range_or_list(token, left)
        following = self.next()
        if not following.is_keyword("between", "in"):
            raise self.error(following, "after a value and `not` comes `between` or `in`")
        return self._not(self._range_or_list(following, left))

    def _range_or_list(self, token: Token, left: Expression) -> Expression:
        if token.is_keyword("in"):
            return self._in(token, left)
        lowest_start = self.current.start
        lowest = self._expression(_BINDING["between"])
        self.take("and")
        highest_start = self.current.start
        highest = self._expression(_BINDING["between"])
        above = self._comparison(Function.GREATER_EQUAL, left, lowest, (token, lowest_start))
        below = self._comparison(Function.LESS_EQUAL, left, highest, (token, highest_start))
        return self._made(Application(Function.AND, (above, below), ValueKind.TRUTH))

    def _in(self, token: Token, left: Expression) -> Expression:
        if not self.current.is_symbol("("):
            return self._contained(left)
        self.take("(")
        equal = [self._equal_to_next(token, left)]
        while self.current.is_symbol(","):
            self.next()
            equal.append(self._equal_to_next(token, left))
        self.take(")")
        return reduce(lambda a, b: self._made(Application(Function.OR, (a, b), ValueKind.TRUTH)), equal)

    def _contained(self, left: Expression) -> Expression:
        """Parse the column of lists after `'text' in`."""
        start = self.current.start
        texts = self._expression(_BINDING["in"])
        self.require(texts, start, "what follows `in`, unless it is a list in brackets,", ValueKind.TEXTS)
        if not isinstance(left, Constant) or left.kind is not ValueKind.TEXT:
            raise ExpressionError(self.text, start, self.end, "only a 'text' is searched in a list")
        return self._made(Application(Function.CONTAINS, (texts, left), ValueKind.TRUTH))

    def _equal_to_next(self, token: Token, left: Expression) -> Expression:
        start = self.current.start
        item = self._expression(_BINDING["in"])
        return self._comparison(Function.EQUAL, left, item, (token, start))

    def _comparison(
        self, function: Function, left: Expression, right: Expression, place: tuple[Token, int]
    ) -> Expression:
        """Return a comparison; `place` is its operator, and the start of the part on the right."""
        token, right_start = place
        if left.kind is ValueKind.TEXTS:
            raise self.error(token, "a list of texts is compared by 'text' in column")
        self.require(right, right_start, f"what follows {token.text}", left.kind)
        if function not in (Function.EQUAL, Function.UNEQUAL) and left.kind not in _ORDERED:
            raise self.error(token, f"{left.kind} has no order: compare it by =, != or `in`")
        self.count(sum(1 for _ in nodes(left)))  # lists and ranges repeat it
        return self._made(Application(function, (left, right), ValueKind.TRUTH))

    def _is_missing(self, left: Expression) -> Expression:
        negated = self.current.is_keyword("not")
        if negated:
            self.next()
        self.take("missing")
        missing = self._made(Application(Function.IS_MISSING, (left,), ValueKind.TRUTH))
        return self._not(missing) if negated else missing

    def _not(self, expression: Expression) -> Expression:
        return self._made(Application(Function.NOT, (expression,), ValueKind.TRUTH))

    def _negated(self, operand: Expression) -> Expression:
        if isinstance(operand, Constant):
            return Constant(-float(operand.value), operand.kind)  # type: ignore[arg-type]
        return self._made(Application(Function.NEGATE, (operand,), ValueKind.NUMBER))

    def _operand(self, token: Token, binding: int, kind: ValueKind) -> Expression:
        start = self.current.start
        right = self._expression(binding)
        self.require(right, start, f"what follows {token.text}", kind)
        return right

    def _call(self, token: Token) -> Expression:
        function = _NAMED.get(token.text.lower())
        if function is None:
            raise self.error(token, f"there is no such function; there are {', '.join(_NAMED)}")
        self.take("(")
        start = self.current.start
        value = self._expression(0)
        self.require(value, start, f"what {function} is applied to", ValueKind.NUMBER)
        arguments = (value, self._pulses(function)) if function in WINDOWED else (value,)
        self.take(")")
        return self._made(Application(function, arguments, ValueKind.NUMBER))

    def _pulses(self, function: Function) -> Expression:
        """Parse the number of pulses of a window; `previous` alone may be without."""
        if function is Function.PREVIOUS and not self.current.is_symbol(","):
            return self._made(Constant(1.0, ValueKind.NUMBER))
        self.take(",")
        token = self.next()
        if not (token.kind is TokenKind.NUMBER and token.text.isdecimal() and len(token.text) < 9):
            raise self.error(token, f"a whole number of pulses from 1 to {MOST_PULSES} is expected")
        if not 1 <= int(token.text) <= MOST_PULSES:
            raise self.error(token, f"the number of pulses is not within 1 to {MOST_PULSES}")
        return self._made(Constant(float(token.text), ValueKind.NUMBER))

    def _number(self, token: Token) -> Expression:
        value = float(token.text)
        if not isfinite(value):
            raise self.error(token, "this number is too large")
        return self._made(Constant(value, ValueKind.NUMBER))

    def _time(self, token: Token) -> Expression:
        try:
            time = datetime.fromisoformat(token.text)
            utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise self.error(token, "there is no such time") from error
        if time.tzinfo is None and "T" in token.text:
            raise self.error(token, "a time has a zone: write 2022-07-01T07:33:00Z")
        return self._made(Constant(utc, ValueKind.TIME))

    def _column(self, token: Token) -> Expression:
        kind = self._columns.get(token.text)
        if kind is None:
            raise self.error(token, f"there is no such column{suggestion(token.text, self._columns)}")
        return self._made(ColumnValue(token.text, kind))

    def _made(self, expression: Expression) -> Expression:
        self.count(1)
        return expression
