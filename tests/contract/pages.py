"""Reads the documents as a test needs them: fenced blocks with their language, commands word by word, links.

A shell is more than what is understood here: pages keep to simple commands, pipes, assignments and `if`, and what goes
beyond that is an error, not left out.
"""

from __future__ import annotations

import email
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_KEYWORDS = {"if", "then", "else", "fi", "!"}
_BREAKS = {"|", "||", "&&", ";", "&", "(", ")"}


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: the file's name.
        line: where it begins.
        language: what stands behind the fence.
        text: its content, without the indentation of its fence.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """For people and for test ids."""
        return f"{self.page}:{self.line}"


def text(page: str) -> str:
    """A page of `docs`."""
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, or all."""
    whole = text(page)
    found = []
    for match in _FENCE.finditer(whole):
        content = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(page, whole.count("\n", 0, match.start()) + 1, match["language"], content))
    assert len(found) * 2 == len(re.findall(r"^ *```", whole, re.MULTILINE)), f"{page}: a fence without a language"
    return [block for block in found if not languages or block.language in languages]


def prose(page: str) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", text(page))


def commands(script: str) -> list[list[str]]:
    """Every command of a shell script, as words; without redirections, assignments, keywords and comments."""
    found: list[list[str]] = []
    for line in re.sub(r"\\\n", " ", script).splitlines():
        if re.match(r"\w+=\(", line):  # an array
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.commenters = "#"
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in [*lexer, ";"]:
            if skip:
                skip = False
            elif word in {">", "<", ">>"}:
                skip = True
            elif word not in _BREAKS:
                words.append(word)
            else:
                while words and (words[0] in _KEYWORDS or re.match(r"\w+=", words[0])):
                    words.pop(0)
                found += [words] if words else []
                words = []
    return found


def options(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """What of a command's words are operands, and which options it has; an option's value is the word behind it."""
    operands: list[str] = []
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--") and word != "--":
            name, equals, value = word.partition("=")
            found[name] = value
            name = "" if equals else name
        elif name:
            found[name] = word
            name = ""
        else:
            operands.append(word)
    return operands, found


def parts(message: str) -> list[tuple[str, str]]:
    """Type and text of every part of a MIME document, from the outside in; the whole has no text of its own."""
    found = email.message_from_string(message).walk()
    return [(part.get_content_type(), "" if part.is_multipart() else str(part.get_payload())) for part in found]


def links(page: str) -> list[str]:
    """The relative links of a page, without anchors."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link.partition("#")[0] for link in found if "://" not in link and not link.startswith("#")]
