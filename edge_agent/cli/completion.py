"""Print what a shell needs to complete `edge-agent`: commands, verbs, options and their choices, from the parser itself.

In bash: `source <(edge-agent completion bash)`, or into /usr/share/bash-completion/completions/edge-agent. In zsh:
`source <(edge-agent completion zsh)`, after compinit.
"""

import argparse
from collections.abc import Iterator

EXAMPLE = "edge-agent completion bash > ~/.local/share/bash-completion/completions/edge-agent"

_SCRIPT = """\
_edge_agent() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[$((COMP_CWORD-1))]}" at="edge-agent" each words=""
    for each in "${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
        case "$at $each" in
            %(paths)s) at="$at $each" ;;
        esac
    done
    case "$at $before" in
%(choices)s
        *)
            case "$word" in
                -*)
                    case "$at" in
%(options)s
                    esac ;;
                *)
                    case "$at" in
%(verbs)s
                    esac ;;
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _edge_agent edge-agent
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"

Parsers = dict[str, argparse.ArgumentParser]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `completion` takes."""
    parser.add_argument("shell", choices=["bash", "zsh"])


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from edge_agent.cli.main import whole_parser

    print((_ZSH if args.shell == "zsh" else "") + script(dict(parsers(whole_parser()))), end="")
    return 0


def script(found: Parsers) -> str:
    """Return the script for commands by their whole names."""
    below = {path: [each for each in found if each.rpartition(" ")[0] == path] for path in found}
    return _SCRIPT % {
        "paths": "|".join(f'"{path}"' for path in found if " " in path),
        "choices": _cases(
            (f"{path} {option}", map(str, action.choices))
            for path, parser in found.items()
            for action in parser._actions  # noqa: SLF001 - argparse tells it nowhere else
            if action.choices and action.option_strings
            for option in action.option_strings
        ),
        "options": _cases((path, parser._option_string_actions) for path, parser in found.items()),  # noqa: SLF001
        "verbs": _cases((path, _words(found[path], each)) for path, each in below.items()),
    }


def parsers(parser: argparse.ArgumentParser, path: str = "edge-agent") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give every parser by its whole name: the program's, each command's, each verb's."""
    yield path, parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, each in action.choices.items():
                yield from parsers(each, f"{path} {name}")


def _words(parser: argparse.ArgumentParser, below: list[str]) -> list[str]:
    """Return what may stand at the place of a word: verbs, and choices of what has no option."""
    words = [path.rpartition(" ")[2] for path in below]
    for action in parser._actions:  # noqa: SLF001
        if action.choices and not action.option_strings and not words:
            words += map(str, action.choices)
    return words


def _cases(cases: "Iterator[tuple[str, object]]") -> str:
    lines = []
    for name, words in cases:
        told = " ".join(words)  # type: ignore[arg-type]
        if told:
            lines.append(f'                "{name}") words="{told}" ;;')
    return "\n".join(lines)
