"""Completion by a shell, as click has it, where an option and its value are joined by `=` too."""

import os
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)


@add_completion_class
class _Bash(BashComplete):
    # bash makes words of their own of = and of the : in an address: the line is taken apart here
    source_template = BashComplete.source_template.replace(
        '"${COMP_WORDS[*]}"', '"${COMP_LINE:0:COMP_POINT}"'
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line) + [""] * line[-1:].isspace()
        return words[1:-1], words[-1]


def _rejoin(items: list[CompletionItem[Any]], incomplete: str) -> list[CompletionItem[Any]]:
    """Put an option back before its values, for a shell that takes both for one word."""
    option, is_joined, _ = incomplete.partition("=")
    if is_joined and option.startswith("--"):
        for item in items:
            item.value = f"{option}={item.value}"
    return items


@add_completion_class
class _Zsh(ZshComplete):
    source_template = ZshComplete.source_template.replace(
        "_path_files", "compset -P '--*='; _path_files"
    )

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        return _rejoin(super().get_completions(args, incomplete), incomplete)


@add_completion_class
class _Fish(FishComplete):
    # a description may have commas
    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        return _rejoin(super().get_completions(args, incomplete), incomplete)
