"""Finding likely secrets in a command line or in params. They are recorded as `***`.

A name can show a secret: `--password X`, `wandb_key=X`, `Authorization: X`, `?token=X`. A value can, too:
`https://user:X@host`, `Bearer X`, and the keys that well-known services issue. Names are judged by whole words, because
`--max_tokens`, `--key_frames`, `--primary_key` and `--tokenizer` are everyday names without secrets.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
_LONGEST_KEY = 1000  # characters


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# These words mark a secret anywhere in a name, even if the value is a number.
_STRONG = _words("""
    password passwords passwd passwrd pword passphrase passcode passkey pswd secret secrets credential credentials
    creds apikey appkey authkey authcode accesskey accountkey clientkey encryptionkey licensekey masterkey
    privatekey secretkey sharedkey signingkey storagekey authorization userpass userpwd dbpass dbpwd sshpass apitoken
    accesstoken authtoken bearertoken bottoken hubtoken refreshtoken sessiontoken usertoken
""")
_STRONG_PAIRS = _words("""
    api-key access-key secret-key private-key auth-key account-key encryption-key signing-key auth-header
    access-token auth-token api-token bearer-token refresh-token session-token security-token id-token
    access-signature github-pat gitlab-pat pass-phrase pass-word auth-code
""")
_JOINED = ("password", "passwd", "apikey", "secret")  # also at the end of a word, as in PGPASSWORD
_OF_SERVICE = (  # as in OPENAIKEY, or `key` in a group `openai`
    r"(?:openai|anthropic|mistral|cohere|groq|wandb|neptune|comet|clearml|kaggle|hf|huggingface|github|gitlab|slack|aws"
    r"|azure|gcp|google|databricks|pinecone)(?:key|token)s?"
)
# These words mark a secret at the end of a name, unless the value is a number.
_WEAK = _words("token tokens key pass pwd pw auth bearer jwt cookie cookies cred otp psk totp")
_PAT = "pat"  # a personal access token; as a sign, it would be in every path
# Each name of another secret contains one of these.
_SIGNS = _STRONG | _WEAK | {pair.partition("-")[2] for pair in _STRONG_PAIRS}
# After one of these words, the words above belong to models, tables and dicts.
_HARMLESS_BEFORE = _words("""
    action add answer attention audio batch begin block bos cache caption category checkpoint chosen ckpt class cls
    column config content context conversation data dataset date dedup dict doc document embedding end eod eos eot extra
    feature features field filter first foreign forward backward frame group grouping hash hot image images img index
    initializer input inputs instance instruction jax join json label labels last latent logits lookup loss map mask max
    merge messages metric min model monitor multi name new next num obs observation order output outputs pad param
    partition per placeholder pred prediction primary prng prompt public query question random registry rejected render
    response reward rng root sample scheduler search second seed sep seq sequence shortcut single sort sorting source
    special split src start state stop summary tag target targets test text tgt third time top total train trigger
    unique unk val video vocab weight weights yaml
""")
# A name that ends with one of these words describes a secret, but does not hold one.
_ABOUT = _words("""
    column count dir directory env expiry field file files format frames host id ids index len length limit manager max
    min name names num path policy prompt rotation size ttl type uri url var variable version
""")
# Patterns are compiled when they are first used, because most commands need few of them.
_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
_FLAG = r"(?i)true|false|yes|no|on|off|none|null|"
_PLAIN = (  # numbers, amounts such as 300B, special tokens, and ways to log in
    r"(?i)[-+]?[\d_.,]+(?:e[-+]?\d+|[kmbtg])?|<[^<>]*>|\[\w+\]|auto|basic|digest|ntlm|kerberos|ldap|iam|sso|oauth2?|oidc"
)
_ASSIGNMENT = r"""(?<![\w.-])-{0,2}([A-Za-z][\w.-]*)(["']?\s*[:=][\s_]*)(?!//)"""
_OPTION = r"""(?<!\S)--?([A-Za-z][\w.-]*)[\s=]+("[^"]*"|'[^']*'|(?!--?[A-Za-z])[^\s"']+)"""
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
_LOGIN_OPTIONS = ("u", "user", "proxy-user", "login")
# `-pPASSWORD`, as mysql has it. Flags, names of options, numbers, types and paths stay, and `-p2` of another program.
_PLAIN_ATTACHED = r"[a-z][a-z_-]*|[A-Za-z]{1,2}|[-+\d.,:]+(?:e[-+]?\d+|[kmbtgKMBTG])?|b?(?:f|fp|float|int)\d+"
_ATTACHED = rf"(?<!\S)-p(?!(?:{_PLAIN_ATTACHED})(?!\S)|[\w-]*[=:]|\S*[\\/]|\S*\.[a-z]{{1,5}}(?!\S))\S+"
# The same after the name of a program whose `-p` is followed by a password.
_WITH_PASSWORDS = r"(?:^|[\s/\"'])(?:mysql\w*|mariadb[\w-]*|sshpass|7z\w?|unrar)(?!\S)"
_ATTACHED_THERE = r"(?<!\S)-p(?![\d.]{1,3}(?!\S))\S+"
_BEARER = r"""(?i)(\bBearer(?:[ _+]+|%20))[^\s"']+"""
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
_QUERY_MARKS = "?&;#"  # before the names in a URL's query
_IN_QUERIES = {"sig", "signature", "key", "auth", "code", "hmac", "credential", "session"}
# The parts of a presigned URL, and what belongs to a secret key.
_IN_SIGNED_URLS = r"(?i)x-[a-z]+-(signature|credential|security-token)|.*access[-_]?key[-_]?id"


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
        shown.append(re.sub(_LOGIN, rf"\1{HIDDEN}", text) if option.lstrip("-") in _LOGIN_OPTIONS else text)
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
    if _may_name_secret(text):
        if "-" in text and (" " in text or "=" in text):
            text = re.sub(_OPTION, _without_value, text)
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


def is_secret_name(name: str) -> bool:
    """Whether an option, variable, param or header of that name holds a secret, if its value is text."""
    if not _may_name_secret(name):
        return False
    if re.fullmatch(_IN_SIGNED_URLS, name):
        return True
    words = [word.lower() for word in re.findall(_WORD, name)]
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in _ABOUT:
        return False
    if _is_strong(words):
        return True
    *before, last = words
    return (last in _WEAK or last == _PAT) and not (before and before[-1] in _HARMLESS_BEFORE)


def _may_name_secret(text: str) -> bool:
    """Whether a text may be, or hold, the name of a secret. init() would wait a millisecond for the first pattern."""
    lowered = text.lower()
    if "signature" in lowered or any(sign in lowered for sign in _SIGNS):
        return True
    if not all(map(str.isalpha, _characters_after(_PAT, lowered))):
        return True
    after_options = (after for option in _LOGIN_OPTIONS for after in _characters_after(f"-{option}", lowered))
    if any(after == "=" or after.isspace() for after in after_options):
        return True
    return any(mark in text for mark in _QUERY_MARKS) and any(name in lowered for name in _IN_QUERIES)


def _characters_after(part: str, text: str) -> list[str]:
    """Return the character after each occurrence of a part of a text; "" for its end."""
    return [rest[:1] for rest in text.split(part)[1:]]


def _is_strong(words: list[str]) -> bool:
    pairs = {f"{one}-{other.removesuffix('s')}" for one, other in itertools.pairwise(words)}
    is_joined = any(word.endswith(_JOINED) or re.fullmatch(_OF_SERVICE, word) for word in words)
    return is_joined or not (_STRONG.isdisjoint(words) and _STRONG_PAIRS.isdisjoint(pairs))


def _is_harmless(value: str, name: str) -> bool:
    """Whether a value is too plain to be the secret that its name suggests, such as a flag or a number of tokens."""
    value = value.strip("\"'")
    if re.fullmatch(_FLAG, value):
        return True
    words = [word.lower() for word in re.findall(_WORD, name)]
    if words == ["key"]:  # the name is too common, as in `--key loss`, so the value decides
        return re.search(_RANDOM, value[:_LONGEST_KEY]) is None
    if words[-1:] == [_PAT] and not {"*", "?", "["}.isdisjoint(value):
        return True  # a pattern
    if words == ["pwd"] and re.match(_PATH, value):
        return True  # the working directory
    return not _is_strong(words) and re.fullmatch(_PLAIN, value) is not None


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
    if name in _LOGIN_OPTIONS:
        return start + re.sub(_LOGIN, rf"\1{HIDDEN}", value)
    if value[0] in "\"'":  # such as the command of `bash -c`
        return start + value[0] + re.sub(_OPTION, _without_value, value[1:-1]) + value[0]
    return match[0]


def _without_assigned(text: str) -> Iterator[str]:
    """Yield the pieces of a text without the values of `name=value` and `name: value` whose names suggest secrets."""
    position = done = 0
    pattern = re.compile(_ASSIGNMENT)
    while match := pattern.search(text, position):
        position = match.end()
        name, in_query = match[1], match.start() > 0 and text[match.start() - 1] in _QUERY_MARKS
        if in_query and (name.lower() in _IN_QUERIES or name.lower().endswith("signature")):
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
        delimiters = r"[,;&\s\"'})\]]"
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
        is_group = is_secret_name(name) or re.fullmatch(_OF_SERVICE, f"{name.lower()}key")  # such as `secrets`
        group = f"{name}." if is_group else ""
        given = str(value.get("name") or value.get("key") or "")  # as in {"name": "API_KEY", "value": …}
        return {
            key: _hide_in_value(given if given and key == "value" else f"{group}{key}", item, f"{place}.{key}", found)
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


def _hide_in_item(name: str, item: Any, place: str, found: list[str]) -> Any:
    """Return an item of a list without secrets. It may be a pair of name and value, as in a list of headers."""
    is_pair = isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and is_secret_name(item[0])
    if is_pair and _is_strong([word.lower() for word in re.findall(_WORD, item[0])]):  # not ["token", "label"]
        return [item[0], _hide_in_value(item[0], item[1], place, found)]
    return _hide_in_value(name, item, place, found)
