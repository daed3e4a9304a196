r"""What a program prints, in pieces of bytes, as lines of text: what would stay on a screen.

Knows nothing of where the bytes come from or go to. The lines do not depend on how the bytes are
cut into pieces. Memory is bounded by ``max_line`` times ``MAX_ROWS``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_LINE: Final = 8192
"""Bytes of a line; a longer one comes in pieces. In JSON they take at most six times as many."""
MAX_ROWS: Final = 64
"""Progress bars one below the other that are waited for."""

_CONTROLS: Final = re.compile(rb"[\n\r\b\x1b]")
# ECMA-48: control sequence; control string with its end; other escape sequences
_SEQUENCE: Final = re.compile(
    rb"\x1b(?:\[(?P<numbers>[0-?]{0,64})[ -/]{0,8}(?P<final>[@-~])"
    rb"|[\]PX^_][^\x07\x1b\n\r]{0,4096}(?:\x07|\x1b\\)"
    rb"|[ -/]{1,4}[0-~]|[0-OQ-WYZ\\`-~])"
)
_UNFINISHED: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_][^\x07\x1b\n\r]{0,4096}\x1b?|[ -/]{0,4})\Z"
)


class OutputLine(NamedTuple):
    r"""A line that was printed.

    Attributes:
        text: The line without its end, control sequences and what was overwritten. Bytes that are
            no UTF-8 are written ``\xff``.
        partial: Whether the line's end is not in it: it goes on in the next one, or was never
            ended.
    """

    text: str
    partial: bool


class _Row:
    """A line that may still change.

    Attributes:
        content: Its text.
        returned: Whether the next text replaces it.
        redrawn: Whether it began anew: a progress bar.
    """

    __slots__ = ("content", "redrawn", "returned")

    def __init__(self) -> None:
        self.content = bytearray()
        self.returned = False
        self.redrawn = False


class OutputLines:
    r"""Makes lines of what one stream prints.

    - ``\r`` and what is written after it replaces the line: of a progress bar, the last state is
      left. Bars below each other (``\x1b[A`` moves up) are kept apart. A bar is given out when
      another line has ended below it, or by :meth:`give_out` once it has ended.
    - Colours, and all other control sequences, are taken out; ``\b`` takes back a character.
    - Lines of nothing but white space are left out.

    Args:
        max_line: Bytes of a line; a longer one comes in pieces.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._rows: list[_Row] = [_Row()]
        # the row that is written to
        self._at = 0
        # beginning of a control sequence
        self._rest = b""

    def feed(self, data: bytes) -> list[OutputLine]:
        """Take some bytes; return the lines that are finished by them."""
        lines: list[OutputLine] = []
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            if self._is_plain():
                found = _CONTROLS.search(data, at)
                if found is not None and data[found.start()] == 10:
                    # up to the first other control: most programs print nothing but lines
                    at = self._take_plain(data, at, lines)
                    continue
            else:
                found = _CONTROLS.search(data, at)
            if found is None:
                self._write(data[at:], lines)
                break
            start = found.start()
            if start > at:
                self._write(data[at:start], lines)
            at = self._control(data, start, lines)
        return lines

    @property
    def waiting(self) -> bool:
        """Whether :meth:`give_out` would return anything."""
        row = self._rows[self._at]
        return any(above.content.strip() for above in self._rows[: self._at]) or bool(
            not row.redrawn and _whole(row.content) and row.content.strip()
        )

    def give_out(self) -> list[OutputLine]:
        """Return what has been waiting for too long: bars that have ended, a line without end.

        A bar that has not ended stays; it would come again and again.
        """
        lines: list[OutputLine] = []
        self._give_rows(self._at, lines)
        row = self._rows[0]
        if not row.redrawn:
            length = _whole(row.content)
            if row.content[:length].strip():
                lines.append(OutputLine(_text(row.content[:length]), True))
                del row.content[:length]
        return lines

    def close(self) -> list[OutputLine]:
        """Return all that is left; nothing comes any more."""
        lines: list[OutputLine] = []
        if self._rest:
            # an escape that began nothing
            rest, self._rest = self._rest[1:], b""
            self._write(rest, lines)
        last = self._rows[-1]
        self._at = len(self._rows) - 1
        self._give_rows(self._at, lines)
        if last.content.strip():
            lines.append(OutputLine(_text(last.content), True))
        self._rows, self._at = [_Row()], 0
        return lines

    def _is_plain(self) -> bool:
        row = self._rows[0]
        return len(self._rows) == 1 and not row.redrawn and not row.returned

    def _take_plain(self, data: bytes, at: int, lines: list[OutputLine]) -> int:
        """Take whole lines up to the first other control; return the position behind them."""
        end = len(data)
        for control in (b"\r", b"\x1b", b"\b"):
            found = data.find(control, at, end)
            if found >= 0:
                end = found
        end = data.rfind(b"\n", at, end) + 1
        row, limit = self._rows[0], self._max
        for line in data[at : end - 1].split(b"\n"):
            if row.content or len(line) > limit:
                self._write(line, lines)
                self._end_row(lines)
            elif line and not line.isspace():
                lines.append(OutputLine(_text(line), False))
        return end

    def _write(self, text: bytes, lines: list[OutputLine]) -> None:
        if not text:
            return
        row = self._rows[self._at]
        if row.returned:
            row.content.clear()
            row.returned = False
            row.redrawn = True
        row.content += text
        if len(row.content) > self._max:
            at = 0
            while len(row.content) - at > self._max:
                stop = _boundary(row.content, at, at + self._max)
                lines.append(OutputLine(_text(row.content[at:stop]), True))
                at = stop
            del row.content[:at]

    def _control(self, data: bytes, at: int, lines: list[OutputLine]) -> int:
        """Obey a control; return the position behind it."""
        row = self._rows[self._at]
        match data[at]:
            case 10:
                self._end_row(lines)
            case 13:
                row.returned = True
            case 8:
                if not row.returned:
                    del row.content[_last(row.content) :]
            case _:
                found = _SEQUENCE.match(data, at)
                if found is not None:
                    if found["final"]:
                        self._obey(found["final"], found["numbers"], lines)
                    return found.end()
                if _UNFINISHED.match(data, at):
                    self._rest = data[at:]
                    return len(data)
        return at + 1

    def _end_row(self, lines: list[OutputLine]) -> None:
        if self._at == len(self._rows) - 1 and not self._rows[self._at].redrawn:
            self._give_rows(len(self._rows), lines)
            return
        # the cursor may come back to a bar
        self._move(1, lines)
        self._rows[self._at].returned = bool(self._rows[self._at].content)

    def _obey(self, final: bytes, numbers: bytes, lines: list[OutputLine]) -> None:
        """Obey a control sequence, if it is about where in the text one is."""
        number = int(numbers) if numbers.isdigit() and len(numbers) < 4 else 0
        row = self._rows[self._at]
        match final:
            case b"A" | b"F":
                self._at = max(0, self._at - (number or 1))
                if final == b"F":
                    self._rows[self._at].returned = True
            case b"B" | b"E":
                self._move(number or 1, lines)
                if final == b"E":
                    self._rows[self._at].returned = True
            case b"G" if number <= 1:
                row.returned = True
            case b"K" if number == 2 or (row.returned and not number):
                row.content.clear()
                row.redrawn = True
            case _:
                pass

    def _move(self, rows: int, lines: list[OutputLine]) -> None:
        """Move down, on fresh rows where there are none; the uppermost go when they are many."""
        for _ in range(min(rows, MAX_ROWS)):
            self._at += 1
            if self._at == len(self._rows):
                self._rows.append(_Row())
                if self._at == MAX_ROWS:
                    self._give_rows(1, lines)

    def _give_rows(self, count: int, lines: list[OutputLine]) -> None:
        """Give out the uppermost rows: they have ended."""
        lines.extend(
            OutputLine(_text(row.content), False)
            for row in self._rows[:count]
            if row.content.strip()
        )
        del self._rows[:count]
        if not self._rows:
            self._rows.append(_Row())
        self._at = max(0, self._at - count)


def _text(content: bytes | bytearray) -> str:
    return content.decode("utf-8", "backslashreplace")


def _boundary(content: bytearray, start: int, stop: int) -> int:
    """Return where to cut so that no character is cut: at most three bytes before ``stop``."""
    for at in range(stop, max(start, stop - 4), -1):
        if content[at] & 0xC0 != 0x80:
            return at
    return stop


def _last(content: bytearray) -> int:
    """Return where the last character begins."""
    end = len(content)
    for at in range(end - 1, max(0, end - 4) - 1, -1):
        if content[at] & 0xC0 != 0x80:
            return at
    return max(0, end - 1)


def _whole(content: bytearray) -> int:
    """Return how many bytes there are up to a character whose last bytes have not come yet."""
    at = _last(content)
    if at == len(content):
        return at
    first = content[at]
    length = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1
    return len(content) if len(content) - at >= length else at
