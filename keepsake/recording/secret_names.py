"""Whether the name of an option, a variable or a param shows that its value is a secret.

Names are judged by whole words, because `--max_tokens`, `--key_frames`, `--primary_key` and `--tokenizer` are everyday
names without secrets.
"""

from __future__ import annotations

import itertools
import re


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
OF_SERVICE = (  # as in OPENAIKEY, or `key` in a group `openai`
    r"(?:openai|anthropic|mistral|cohere|groq|wandb|neptune|comet|clearml|kaggle|hf|huggingface|github|gitlab|slack|aws"
    r"|azure|gcp|google|databricks|pinecone)(?:key|token)s?"
)
# These words mark a secret at the end of a name, unless the value is a number.
_WEAK = _words("token tokens key pass pwd pw auth bearer jwt cookie cookies cred otp psk totp")
PAT = "pat"  # a personal access token; as a sign, it would be in every path
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
WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
QUERY_MARKS = "?&;#"  # before the names in a URL's query
IN_QUERIES = {"sig", "signature", "key", "auth", "code", "hmac", "credential", "session"}
# The parts of a presigned URL, and what belongs to a secret key.
_IN_SIGNED_URLS = r"(?i)x-[a-z]+-(signature|credential|security-token)|.*access[-_]?key[-_]?id"
LOGIN_OPTIONS = ("u", "user", "proxy-user", "login")


def is_secret_name(name: str) -> bool:
    """Whether an option, variable, param or header of that name holds a secret, if its value is text."""
    if not may_name_secret(name):
        return False
    if re.fullmatch(_IN_SIGNED_URLS, name):
        return True
    words = [word.lower() for word in re.findall(WORD, name)]
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in _ABOUT:
        return False
    if is_strong(words):
        return True
    *before, last = words
    return (last in _WEAK or last == PAT) and not (before and before[-1] in _HARMLESS_BEFORE)


def may_name_secret(text: str) -> bool:
    """Whether a text may be, or hold, the name of a secret. init() would wait a millisecond for the first pattern."""
    lowered = text.lower()
    if "signature" in lowered or any(sign in lowered for sign in _SIGNS):
        return True
    if not all(map(str.isalpha, _characters_after(PAT, lowered))):
        return True
    after_options = (after for option in LOGIN_OPTIONS for after in _characters_after(f"-{option}", lowered))
    if any(after == "=" or after.isspace() for after in after_options):
        return True
    return any(mark in text for mark in QUERY_MARKS) and any(name in lowered for name in IN_QUERIES)


def _characters_after(part: str, text: str) -> list[str]:
    """Return the character after each occurrence of a part of a text; "" for its end."""
    return [rest[:1] for rest in text.split(part)[1:]]


def is_strong(words: list[str]) -> bool:
    """Whether a name of these words, in lower case, holds a secret even if the value is a number."""
    pairs = {f"{one}-{other.removesuffix('s')}" for one, other in itertools.pairwise(words)}
    is_joined = any(word.endswith(_JOINED) or re.fullmatch(OF_SERVICE, word) for word in words)
    return is_joined or not (_STRONG.isdisjoint(words) and _STRONG_PAIRS.isdisjoint(pairs))
