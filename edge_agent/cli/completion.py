"""Print what a shell needs to complete `edge-agent`: commands, verbs, options and their choices, from the parser itself.

In bash: `source <(edge-agent completion bash)`, or into /usr/share/bash-completion/completions/edge-agent. In zsh:
`source <(edge-agent completion zsh)`, after compinit. In fish: `edge-agent completion fish | source`, or into
~/.config/fish/completions/edge-agent.fish. Behind an agent.toml the names of its variables and entities are offered,
too; the shell asks for them with `edge-agent completion variables agent.toml`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from edge_agent.config import examine
from edge_agent.model.layout import local_name, variable_path

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
%(names)s
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
_edge_agent_names() {
    for each in "${COMP_WORDS[@]}"; do
        if [[ $each == *.toml && -f $each ]]; then edge-agent completion "$1" "$each" 2>/dev/null; fi
    done
}
complete -o default -F _edge_agent edge-agent
"""
_FISH = """\
function __edge_agent_at
    set -l at edge-agent
    for each in (commandline -opc)
        contains -- "$at $each" %(paths)s; and set at "$at $each"
    end
    test "$at" = "$argv"
end
function __edge_agent_names
    for each in (commandline -opc)
        string match -q '*.toml' -- $each; and edge-agent completion $argv[1] $each 2>/dev/null
    end
end"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"

NAMES = ("variables", "entities")
"""What a configuration is asked for, by a positional argument or an option of the name without its end."""
_ASKS = {"variable": "variables", "--variable": "variables", "--entity": "entities"}

Parsers = dict[str, argparse.ArgumentParser]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `completion` takes."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish", *NAMES], help="a shell, or what it asks for")
    parser.add_argument("config", nargs="?", type=Path, help="agent.toml, for variables and entities")


def run(args: argparse.Namespace) -> int:
    """Print the script, or the names."""
    from edge_agent.cli.main import whole_parser

    if args.shell in NAMES:
        print(*names(args.shell, args.config), sep="\n")
        return 0
    found = dict(parsers(whole_parser()))
    print(fish(found) if args.shell == "fish" else (_ZSH if args.shell == "zsh" else "") + script(found), end="")
    return 0


def names(what: str, config: Path | None) -> list[str]:
    """Return what a configuration names, as far as it is sound; nothing where it cannot be read."""
    sources = () if config is None else examine(config).sources
    if what == "entities":
        return sorted({local_name(source.entity) for source in sources})
    return sorted({variable_path(source.entity, point.name) for source in sources for point in source.points})


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
        "names": "\n".join(
            f'        "{path} {each}") words="$(_edge_agent_names {_ASKS[each]})" ;;'
            for path, parser in found.items()
            for each in sorted(parser._option_string_actions.keys() & _ASKS.keys())  # noqa: SLF001
        ),
        "verbs": _cases(
            (path, [*_words(found[path], each), *_names_asked(found[path])]) for path, each in below.items()
        ),
    }


def parsers(parser: argparse.ArgumentParser, path: str = "edge-agent") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give every parser by its whole name: the program's, each command's, each verb's."""
    yield path, parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, each in action.choices.items():
                yield from parsers(each, f"{path} {name}")


def fish(found: Parsers) -> str:
    """Return the script for fish: a line for each word that may stand behind each command."""
    lines = [_FISH % {"paths": " ".join(f'"{path}"' for path in found)}]
    for path, parser in found.items():
        head = f"complete -c edge-agent -n '__edge_agent_at {path}'"
        words = _words(parser, [each for each in found if each.rpartition(" ")[0] == path])
        if words:
            lines.append(f"{head} -f -a '{' '.join(words)}'")
        for action in parser._actions:  # noqa: SLF001
            lines += _fish_option(head, action)
    return "\n".join(lines) + "\n"


def _fish_option(head: str, action: argparse.Action) -> Iterator[str]:
    """Give the lines of an argument: what may stand behind it, and what it is for."""
    asks = next((_ASKS[each] for each in (action.dest, *action.option_strings) if each in _ASKS), None)
    offered = f" -x -a '(__edge_agent_names {asks})'" if asks else ""
    if action.choices and not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
        offered = f" -x -a '{' '.join(map(str, action.choices))}'"
    elif not offered and action.nargs != 0:
        offered = " -r"
    told = (action.help or "").replace("'", r"\'").replace("%%", "%")
    for option in action.option_strings:
        kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
        yield f"{head} {kind}{offered} -d '{told}'"
    if not action.option_strings and asks:
        yield f"{head}{offered}"


def _words(parser: argparse.ArgumentParser, below: list[str]) -> list[str]:
    """Return what may stand at the place of a word: verbs, and choices of what has no option."""
    words = [path.rpartition(" ")[2] for path in below]
    for action in parser._actions:  # noqa: SLF001
        if action.choices and not action.option_strings and not words:
            words += map(str, action.choices)
    return words


def _names_asked(parser: argparse.ArgumentParser) -> list[str]:
    """Return what asks a configuration for the names that may stand at the place of a word."""
    asks = (_ASKS.get(action.dest) for action in parser._actions if not action.option_strings)  # noqa: SLF001
    return [f"$(_edge_agent_names {each})" for each in asks if each is not None]


def _cases(cases: "Iterator[tuple[str, object]]") -> str:
    lines = []
    for name, words in cases:
        told = " ".join(words)  # type: ignore[arg-type]
        if told:
            lines.append(f'                "{name}") words="{told}" ;;')
    return "\n".join(lines)
