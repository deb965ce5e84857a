"""The parser of expressions: a Pratt parser (Pratt, Top down operator precedence, 1973) that checks kinds.

It is written by hand, because most of it is what a parser generator leaves to its user: kinds, limits, and
errors that name the place and what to write instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from math import isfinite

from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.suggestions import suggestion
from shotwatch_shots.expressions.tokens import Token, TokenKind, tokens
from shotwatch_shots.expressions.tree import (
    WINDOWED,
    Application,
    ColumnValue,
    Constant,
    Expression,
    Function,
    ValueKind,
    nodes,
)

LONGEST = 4000
"""Maximum length of an expression in characters."""
DEEPEST = 30
"""Maximum depth of brackets, functions and prefixed operators."""
MOST_NODES = 300
"""Maximum number of constants, columns and functions in an expression."""
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
_BINDING: dict[str, int] = {"or": 1, "and": 2, "+": 5, "-": 5, "*": 6, "/": 6} | dict.fromkeys(
    _COMPARISONS, 4
)
_BINDING |= dict.fromkeys(("between", "in", "is", "not"), 4)
_NOT_BINDING, _NEGATE_BINDING = 3, 7
_ORDERED = (ValueKind.NUMBER, ValueKind.TIME)
_NAMED = {each.value: each for each in (Function.ABS, Function.LOG10, Function.SQRT, *sorted(WINDOWED))}


@dataclass(frozen=True, slots=True)
class Derivation:
    """A column that an expression derives from others."""

    name: str
    expression: Expression


def parse_filter(text: str, columns: Columns) -> Expression:
    """Parse an expression that is true or false for each shot.

    Raises:
        ExpressionError: it is none, or too long, too deep or too large.
    """
    parser = _Parser(text, columns)
    expression = parser.whole()
    parser.require(expression, 0, "a filter", ValueKind.TRUTH)
    return expression


def parse_number(text: str, columns: Columns) -> Expression:
    """Parse an expression that is a number for each shot.

    Raises:
        ExpressionError: it is none, or too long, too deep or too large.
    """
    parser = _Parser(text, columns)
    expression = parser.whole()
    parser.require(expression, 0, "an aggregated value", ValueKind.NUMBER)
    return expression


def parse_derivation(text: str, columns: Columns) -> Derivation:
    """Parse `name = expression`, where the expression is a number, or true or false.

    Raises:
        ExpressionError: it is none, or there is a column of this name already.
    """
    parser = _Parser(text, columns)
    name = parser.new_name()
    start = parser.current.start
    expression = parser.whole()
    parser.require(expression, start, "a derived column", ValueKind.NUMBER, ValueKind.TRUTH)
    return Derivation(name, expression)


class _Parser:
    """A text that is being parsed, from the current token on."""

    def __init__(self, text: str, columns: Columns) -> None:
        self._text = text
        if len(text) > LONGEST:
            raise ExpressionError(text[: LONGEST + 1], LONGEST, LONGEST, f"longer than {LONGEST} characters")
        self._columns = columns
        self._tokens = tokens(text)
        self.current = next(self._tokens)
        self._end = 0
        """Index after the token before the current one."""
        self._depth = 0
        self._nodes = 0

    def whole(self) -> Expression:
        """Parse up to the end of the text."""
        expression = self._expression(0)
        if self.current.kind is not TokenKind.END:
            raise self._error(self.current, self._hint_at_end())
        return expression

    def new_name(self) -> str:
        """Parse the name of a derived column and the `=` after it."""
        name = self._next()
        if name.kind is not TokenKind.NAME or not self.current.is_symbol("="):
            raise self._error(name, "a derived column begins with its name and =, such as ratio = a / b")
        if len(name.text) > LONGEST_NAME:
            raise self._error(name, f"the name of a derived column has {LONGEST_NAME} characters at most")
        if name.text in self._columns:
            raise self._error(name, "there is a column of this name already")
        self._next()
        return name.text

    def require(self, expression: Expression, start: int, what: str, *kinds: ValueKind) -> None:
        """Require that a part of the text, from `start` to the current token, is of one of these kinds."""
        if expression.kind not in kinds:
            reason = f"{what} is {' or '.join(kinds)}, and this is {expression.kind}"
            raise ExpressionError(self._text, start, max(self._end, start + 1), reason)

    # Expressions.

    def _expression(self, binding: int) -> Expression:
        """Parse an expression whose operators bind more tightly than `binding`."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(self.current, f"nested more than {DEEPEST} deep")
        start = self.current.start
        left = self._prefix()
        while _BINDING.get(self._operator(), 0) > binding:
            left = self._infix(left, start)
        self._depth -= 1
        return left

    def _operator(self) -> str:
        token = self.current
        return token.text if token.kind in (TokenKind.SYMBOL, TokenKind.NAME) else ""

    def _prefix(self) -> Expression:
        token = self._next()
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
            self._take(")")
            return inside
        if token.kind is TokenKind.NAME and token.text not in _BINDING:
            return self._call(token) if self.current.is_symbol("(") else self._column(token)
        raise self._error(token, "here a value is expected: a column, a number, a 'text' or a time")

    def _infix(self, left: Expression, start: int) -> Expression:
        token = self._next()
        if token.text in ("and", "or"):
            self.require(left, start, f"what stands before {token.text}", ValueKind.TRUTH)
            right = self._operand(token, _BINDING[token.text], ValueKind.TRUTH)
            return self._made(Application(Function(token.text), (left, right), ValueKind.TRUTH))
        if token.is_symbol("+", "-", "*", "/"):
            self.require(left, start, f"what stands before {token.text}", ValueKind.NUMBER)
            right = self._operand(token, _BINDING[token.text], ValueKind.NUMBER)
            return self._made(Application(Function(token.text), (left, right), ValueKind.NUMBER))
        compared = self._is_missing(left) if token.is_keyword("is") else self._compared(token, left)
        if _BINDING.get(self._operator(), 0) == _BINDING[token.text]:
            raise self._error(self.current, "comparisons do not follow each other: join them by `and`")
        return compared

    def _compared(self, token: Token, left: Expression) -> Expression:
        if token.text in _COMPARISONS:
            right_start = self.current.start
            right = self._expression(_BINDING[token.text])
            return self._comparison(_COMPARISONS[token.text], left, right, (token, right_start))
        if not token.is_keyword("not"):
            return self._range_or_list(token, left)
        following = self._next()
        if not following.is_keyword("between", "in"):
            raise self._error(following, "after a value and `not` comes `between` or `in`")
        return self._not(self._range_or_list(following, left))

    def _range_or_list(self, token: Token, left: Expression) -> Expression:
        if token.is_keyword("in"):
            return self._in(token, left)
        lowest_start = self.current.start
        lowest = self._expression(_BINDING["between"])
        self._take("and")
        highest_start = self.current.start
        highest = self._expression(_BINDING["between"])
        above = self._comparison(Function.GREATER_EQUAL, left, lowest, (token, lowest_start))
        below = self._comparison(Function.LESS_EQUAL, left, highest, (token, highest_start))
        return self._made(Application(Function.AND, (above, below), ValueKind.TRUTH))

    def _in(self, token: Token, left: Expression) -> Expression:
        if not self.current.is_symbol("("):
            return self._contained(left)
        self._take("(")
        equal = [self._equal_to_next(token, left)]
        while self.current.is_symbol(","):
            self._next()
            equal.append(self._equal_to_next(token, left))
        self._take(")")
        return reduce(lambda a, b: self._made(Application(Function.OR, (a, b), ValueKind.TRUTH)), equal)

    def _contained(self, left: Expression) -> Expression:
        """Parse the column of lists after `'text' in`."""
        start = self.current.start
        texts = self._expression(_BINDING["in"])
        self.require(texts, start, "what follows `in`, unless it is a list in brackets,", ValueKind.TEXTS)
        if not isinstance(left, Constant) or left.kind is not ValueKind.TEXT:
            raise ExpressionError(self._text, start, self._end, "only a 'text' is searched in a list")
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
            raise self._error(token, "a list of texts is compared by 'text' in column")
        self.require(right, right_start, f"what follows {token.text}", left.kind)
        if function not in (Function.EQUAL, Function.UNEQUAL) and left.kind not in _ORDERED:
            raise self._error(token, f"{left.kind} has no order: compare it by =, != or `in`")
        self._count(left)
        return self._made(Application(function, (left, right), ValueKind.TRUTH))

    def _is_missing(self, left: Expression) -> Expression:
        negated = self.current.is_keyword("not")
        if negated:
            self._next()
        self._take("missing")
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

    # Values.

    def _call(self, token: Token) -> Expression:
        function = _NAMED.get(token.text.lower())
        if function is None:
            raise self._error(token, f"there is no such function; there are {', '.join(_NAMED)}")
        self._take("(")
        start = self.current.start
        value = self._expression(0)
        self.require(value, start, f"what {function} is applied to", ValueKind.NUMBER)
        arguments = (value, self._pulses(function)) if function in WINDOWED else (value,)
        self._take(")")
        return self._made(Application(function, arguments, ValueKind.NUMBER))

    def _pulses(self, function: Function) -> Expression:
        """Parse the number of pulses of a window; `previous` alone may be without."""
        if function is Function.PREVIOUS and not self.current.is_symbol(","):
            return self._made(Constant(1.0, ValueKind.NUMBER))
        self._take(",")
        token = self._next()
        if not (token.kind is TokenKind.NUMBER and token.text.isdecimal() and len(token.text) < 9):
            raise self._error(token, f"a whole number of pulses from 1 to {MOST_PULSES} is expected")
        if not 1 <= int(token.text) <= MOST_PULSES:
            raise self._error(token, f"the number of pulses is not within 1 to {MOST_PULSES}")
        return self._made(Constant(float(token.text), ValueKind.NUMBER))

    def _number(self, token: Token) -> Expression:
        value = float(token.text)
        if not isfinite(value):
            raise self._error(token, "this number is too large")
        return self._made(Constant(value, ValueKind.NUMBER))

    def _time(self, token: Token) -> Expression:
        try:
            time = datetime.fromisoformat(token.text)
            if time.tzinfo is None and "T" in token.text:
                raise self._error(token, "a time has a zone: write 2022-07-01T07:33:00Z")
            utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise self._error(token, "there is no such time") from error
        return self._made(Constant(utc, ValueKind.TIME))

    def _column(self, token: Token) -> Expression:
        kind = self._columns.get(token.text)
        if kind is None:
            raise self._error(token, f"there is no such column{suggestion(token.text, self._columns)}")
        return self._made(ColumnValue(token.text, kind))

    # Tokens and limits.

    def _next(self) -> Token:
        token = self.current
        self._end = token.end
        if token.kind is not TokenKind.END:
            self.current = next(self._tokens)
        return token

    def _take(self, text: str) -> None:
        if not (self.current.is_symbol(text) or self.current.is_keyword(text)):
            raise self._error(self.current, f"here `{text}` is expected")
        self._next()

    def _made(self, expression: Expression) -> Expression:
        self._add(1)
        return expression

    def _count(self, repeated: Expression) -> None:
        """Count the nodes of a part that the tree has once more: lists and ranges repeat it."""
        self._add(sum(1 for _ in nodes(repeated)))

    def _add(self, count: int) -> None:
        self._nodes += count
        if self._nodes > MOST_NODES:
            raise self._error(self.current, f"more than {MOST_NODES} values and functions")

    def _hint_at_end(self) -> str:
        after_name = self.current.kind in (TokenKind.NAME, TokenKind.NUMBER, TokenKind.QUOTED_NAME)
        hint = "; a name with other characters than letters, digits, _ and . is written in double quotes"
        return "here an operator or the end is expected" + (hint if after_name else "")

    def _error(self, token: Token, reason: str) -> ExpressionError:
        return ExpressionError(self._text, token.start, token.end, reason)
