"""Finding likely secrets in a command line or in params. They are recorded as `***`.

A name can show a secret: `--password X`, `wandb_key=X`, `Authorization: X`, `?token=X`. A value can, too:
`https://user:X@host`, `Bearer X`, and the keys that well-known services issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from keepsake.recording.secret_names import (
    IN_QUERIES,
    LOGIN_OPTIONS,
    OF_SERVICE,
    PAT,
    QUERY_MARKS,
    WORD,
    is_secret_name,
    is_strong,
    may_name_secret,
)

HIDDEN = "***"
_LONGEST_KEY = 1000  # characters


# Patterns are compiled when they are first used, because most commands need few of them.
_FLAG = r"(?i)true|false|yes|no|on|off|none|null|"
_PLAIN = (  # numbers, amounts such as 300B, special tokens, and ways to log in
    r"(?i)[-+]?[\d_.,]+(?:e[-+]?\d+|[kmbtg])?|\[[-\d_.,\s]*\]|<[^<>]*>|\[\w+\]|auto|basic|digest|ntlm|kerberos|ldap|iam"
    r"|sso|oauth2?|oidc"
)
_ASSIGNMENT = r"""(?<![\w.-])-{0,2}([A-Za-z][\w.-]*)(["']?\]?\s*[:=][\s_]*)(?!//)"""
_OPTION = r"""(?<!\S)--?([A-Za-z][\w.-]*)[\s=]+("[^"]*"|'[^']*'|(?!--?[A-Za-z])[^\s"']+)"""
_LISTED = r"""--?([A-Za-z][\w.-]*)(["']?,\s*["']?)([^\s"',\]]+)"""  # as in `[--password, X]`
# The lengths are bounded, so a long text of URLs takes no longer than others.
_USER_IN_URL = (
    r"""(?<![\w+.-])([A-Za-z][\w+.-]{0,20}://)"""
    r"""(?:[^\s/?#@:]{0,300}:(?!\d+(?:[/?#]|$))[^\s"']{0,300}|[^\s/?#@]{0,300})@"""
)
# A user and password before a host, without a scheme. A digest or the name of a version is no host.
_USER_AT_HOST = (
    r"""(?i)(?<![\w/.@:-])(?!(?:mailto|e?-?mail|from|to|cc):)([a-z][\w.+-]{0,100}:)(?!//|[\d.]+@)[^\s/@:"'=]{1,300}@"""
    r"""(?!sha\d+:|(?:main|master|latest|stable|next|dev|prod)\b(?!\.))"""
    r"""((?=[\d.]{7,15}\b)[\d.]+|[a-z][\w.-]*)(?=[:/\s"',;)\]}]|$)"""
)
_MARKS_OF_SHAPES = (
    *("hf_", "gh", "glpat-", "sk-", "k_live_", "xox", "r8_", "npm_", "AKIA", "ASIA", "AIza", "ya29.", "pypi-", "eyJ"),
    *("dapi", "gsk_", "nvapi-", "hvs.", "SG.", "hooks.slack.com", "api/webhooks", "api.telegram.org"),
)
_SHAPES = r"""(?x)\b(?:
      hf_(?=\w*[A-Z\d])[A-Za-z\d]{12,}
    | gh[opsru]_[A-Za-z\d]{12,} | github_pat_\w{12,} | glpat-[\w-]{12,}
    | sk-(?=[\w-]*\d)[\w-]{16,} | xox[abeoprs]-[\w-]{10,} | r8_[A-Za-z\d]{20,} | npm_[A-Za-z\d]{20,}
    | [rs]k_live_\w{16,} | dapi[a-f\d]{32} | gsk_\w{40,} | nvapi-[\w-]{40,} | hvs\.[\w-]{20,}
    | SG\.[\w-]{20,}\.[\w-]{20,}
    | (?<=hooks\.slack\.com/)services/[\w/]+ | (?<=api/webhooks/)\d+/[\w-]+ | (?<=api\.telegram\.org/)bot\d+:[\w-]+
    | (?:AKIA|ASIA)[A-Z\d]{12,} | AIza[\w-]{30,} | ya29\.[\w-]{20,} | pypi-[\w-]{40,}
    | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    )"""
_RANDOM = r"(?=[A-Za-z]{0,60}\d)(?=\d{0,60}[A-Za-z])[A-Za-z\d]{20}"  # a long run of both letters and digits
_PATH = r"[.~]{0,2}[\\/]|[A-Za-z]:[\\/]|[.~]{1,2}$"
_LOGIN = r"^(?!\d+:\d+$)([^\s:/.]+:)[^\s:/]+$"  # in curl's form
# `-pPASSWORD`, as mysql has it. Flags, names of options, numbers, types and paths stay, and `-p2` of another program.
_PLAIN_ATTACHED = r"[a-z][a-z_-]*|[A-Za-z]{1,2}|[-+\d.,:]+(?:e[-+]?\d+|[kmbtgKMBTG])?|b?(?:f|fp|float|int)\d+"
_ATTACHED = rf"(?<!\S)-p(?!(?:{_PLAIN_ATTACHED})(?!\S)|[\w-]*[=:]|\S*[\\/]|\S*\.[a-z]{{1,5}}(?!\S))\S+"
# The same after the name of a program whose `-p` is followed by a password.
_WITH_PASSWORDS = r"(?:^|[\s/\"'])(?:mysql\w*|mariadb[\w-]*|sshpass|7z\w?|unrar)(?!\S)"
_ATTACHED_THERE = r"(?<!\S)-p(?![\d.]{1,3}(?!\S))\S+"
_BEARER = r"""(?i)(\bBearer(?:[ _+]+|%20))[^\s"']+"""
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*"


def hide_in_command(arguments: Sequence[str]) -> list[str]:
    """Return a command's arguments with likely secrets replaced by `***`."""
    shown = []
    attached = _attached_in(" ".join(arguments))
    option = name = ""  # the previous argument, and its name if that suggests a secret
    for argument in arguments:
        if name and argument == "--":  # the value follows, even if it begins with a dash
            shown.append(argument)
            continue
        if name and _is_value(argument, name):
            shown.append(HIDDEN)
            option, name = "", name if name.endswith("s") else ""  # such as `--passwords A B`
            continue
        text = hide_in_text(argument)
        text = re.sub(attached, f"-p{HIDDEN}", text) if text.startswith("-p") else text
        shown.append(re.sub(_LOGIN, rf"\1{HIDDEN}", text) if option.lstrip("-") in LOGIN_OPTIONS else text)
        option = argument
        name = text.lstrip("-") if _is_option(text) and is_secret_name(text.lstrip("-")) else ""
    return shown


def hide_in_params(params: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return params, as they are stored, with likely secrets replaced by `***`, and the names of these params."""
    found: list[str] = []
    shown = {name: _hide_in_value(name, value, name, found) for name, value in params.items()}
    return (shown, list(dict.fromkeys(found))) if found else (params, [])


def hide_in_text(text: str) -> str:
    """Return `text` with likely secrets replaced by `***`. If one was percent-encoded, all of it is decoded."""
    shown = _hide_plain(text)
    if "%" in shown:  # such as a URL in the query of another one
        plain = unquote(unquote(shown))
        hidden = _hide_plain(plain)
        if hidden != plain:
            return hidden
    return shown


def _hide_plain(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = re.sub(_PRIVATE_KEY, HIDDEN, text)
    if "@" in text and ":" in text:
        text = re.sub(_USER_IN_URL, rf"\1{HIDDEN}@", text)
        text = re.sub(_USER_AT_HOST, rf"\1{HIDDEN}@\2", text)
    if "-p" in text:
        text = re.sub(_attached_in(text), f"-p{HIDDEN}", text)
    if may_name_secret(text):
        if "-" in text and (" " in text or "=" in text):
            text = re.sub(_OPTION, _without_value, text)
        if "-" in text and "," in text:
            text = re.sub(_LISTED, _without_listed, text)
        if "=" in text or ":" in text:
            text = "".join(_without_assigned(text))
    if "earer" in text:
        text = re.sub(_BEARER, rf"\1{HIDDEN}", text)
    if any(mark in text for mark in _MARKS_OF_SHAPES):
        text = re.sub(_SHAPES, HIDDEN, text)
    return text


def _attached_in(command: str) -> str:
    """Return the pattern of a `-p` with its password in a command."""
    return _ATTACHED_THERE if "-p" in command and re.search(_WITH_PASSWORDS, command) else _ATTACHED


def _is_harmless(value: str, name: str) -> bool:
    """Whether a value is too plain to be the secret that its name suggests, such as a flag or a number of tokens."""
    value = value.strip("\"'")
    if re.fullmatch(_FLAG, value):
        return True
    words = [word.lower() for word in re.findall(WORD, name)]
    if words == ["key"]:  # the name is too common, as in `--key loss`, so the value decides
        return re.search(_RANDOM, value[:_LONGEST_KEY]) is None
    if words[-1:] == [PAT] and not {"*", "?", "["}.isdisjoint(value):
        return True  # a pattern
    if words == ["pwd"] and re.match(_PATH, value):
        return True  # the working directory
    return not is_strong(words) and re.fullmatch(_PLAIN, value) is not None


def _is_value(argument: str, name: str) -> bool:
    """Whether an argument after the option of that name is its secret value. It may begin with a dash."""
    if re.fullmatch(r"--[a-z][a-z\d_-]*(=.*)?|-[A-Za-z]", argument):
        return False  # the option is a flag, and this is the next one
    return not _is_harmless(argument, name)


def _is_option(argument: str) -> bool:
    """Whether the next argument may be the value of this one, as after `--key`, or after `opts WANDB.API_KEY`."""
    if argument.startswith("-"):
        return set("=: \t\r\n").isdisjoint(argument)
    parts = argument.split(".")  # init() would wait for the compilation of a pattern
    return len(parts) > 1 and all(map(str.isidentifier, parts)) and is_secret_name(parts[-1])


def _without_value(match: re.Match[str]) -> str:
    """Return an option and its value, both in one text, without secrets in the value."""
    name, value = match[1], match[2]
    start = match[0][: -len(value)]
    if is_secret_name(name) and _is_value(value, name):
        return start + HIDDEN
    if name in LOGIN_OPTIONS:
        return start + re.sub(_LOGIN, rf"\1{HIDDEN}", value)
    if value[0] in "\"'":  # such as the command of `bash -c`
        return start + value[0] + re.sub(_OPTION, _without_value, value[1:-1]) + value[0]
    return match[0]


def _without_listed(match: re.Match[str]) -> str:
    """Return an option and its value, both in a list, without a secret."""
    name, value = match[1], match[3]
    is_secret = is_secret_name(name) and _is_value(value, name)
    return match[0][: -len(value)] + HIDDEN if is_secret else match[0]


def _without_assigned(text: str) -> Iterator[str]:
    """Yield the pieces of a text without the values of `name=value` and `name: value` whose names suggest secrets."""
    position = done = 0
    pattern = re.compile(_ASSIGNMENT)
    while match := pattern.search(text, position):
        position = match.end()
        name, in_query = match[1], match.start() > 0 and text[match.start() - 1] in QUERY_MARKS
        if in_query and (name.lower() in IN_QUERIES or name.lower().endswith("signature")):
            name = "token"
        if is_secret_name(name):
            end = _end_of_value(text, match, in_query=in_query)
            value = text[position:end]
            if not _is_harmless(value, name):
                quote = value[0] if value[0] in "\"'" else ""
                yield text[done:position] + quote + HIDDEN + quote
                done = position = end
    yield text[done:]


def _end_of_value(text: str, match: re.Match[str], *, in_query: bool) -> int:
    """Return the end of the value after an assignment: its quote, a delimiter, or the end of the text."""
    start = match.end()
    if quoted := re.compile(r"""(?s)(["'])(?:\\.|(?!\1).)*(\1|$)""").match(text, start):
        return quoted.end()
    if text[start : start + 1] in ("[", "{"):  # a list or an object in JSON or YAML
        return _end_of_brackets(text, start)
    if in_query:
        delimiters = r"[&;#\s\"']"
    elif match.start() == 0 or text[: match.start()].strip() in ("-H", "--header", "--header="):
        return len(text)
    elif match[1].lower().endswith("authorization"):
        delimiters = r"[\"'\n]"
    else:
        delimiters = r"[;&\s\"'})\]]|,(?=\s|$|[^\s,]*[:=])"  # `a=X,Y` has two values, as in a sweep
    end_match = re.compile(delimiters).search(text, start)
    return end_match.start() if end_match else len(text)


def _end_of_brackets(text: str, start: int) -> int:
    """Return the end of what the bracket at `start` opens, or the end of the text."""
    depth = 0
    for match in re.compile(r"""(?s)"(?:\\.|[^"\\])*"|[\[{]|[\]}]""").finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    return len(text)


def _hide_in_value(name: str, value: Any, place: str, found: list[str]) -> Any:
    """Return a value without secrets, even in lists and dicts, and add their places to `found`."""
    if isinstance(value, dict):
        is_group = is_secret_name(name) or re.fullmatch(OF_SERVICE, f"{name.lower()}key")  # such as `secrets`
        group = f"{name}." if is_group else ""
        given = str(value.get("name") or value.get("key") or "")  # as in {"name": "API_KEY", "value": …}
        of_value = given if is_secret_name(given) else name  # as in {"token": {"value": …}}
        return {
            key: _hide_in_value(
                of_value if key == "value" else _name_in(name, group, key), item, f"{place}.{key}", found
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        hidden: Any = [_hide_in_item(name, item, place, found) for item in value]
        if not any(isinstance(item, str) and _is_option(item) for item in hidden):
            return hidden
        command = hide_in_command([str(item) for item in hidden])  # the list holds arguments
        pairs = zip(hidden, command, strict=True)
        shown = [text if isinstance(item, str) or text == HIDDEN else item for item, text in pairs]
        if shown != hidden:
            found.append(place)
        return shown
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if is_secret_name(name) and not _is_harmless(text, name):
        hidden = HIDDEN
    elif isinstance(value, str):
        hidden = hide_in_text(value)
    else:
        return value
    if hidden != value:
        found.append(place)
    return hidden


def _name_in(name: str, group: str, key: str) -> str:
    """Return the name of a value in the dict of that name, so that {"api": {"key": …}} holds an `api.key`."""
    words = [word.lower() for word in re.findall(WORD, name)[-1:] + re.findall(WORD, key)[:1]]
    return f"{words[0]}.{key}" if len(words) > 1 and is_strong(words) else f"{group}{key}"


def _hide_in_item(name: str, item: Any, place: str, found: list[str]) -> Any:
    """Return an item of a list without secrets. It may be a pair of name and value, as in a list of headers."""
    is_pair = isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and is_secret_name(item[0])
    if is_pair and is_strong([word.lower() for word in re.findall(WORD, item[0])]):  # not ["token", "label"]
        return [item[0], _hide_in_value(item[0], item[1], place, found)]
    return _hide_in_value(name, item, place, found)
