"""What counts as a secret in a command or in params, and what does not."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from keepsake.recording.secret_names import is_secret_name
from keepsake.recording.secrets import hide_in_command, hide_in_params, hide_in_text

HIDDEN = {
    # URLs
    "https://h/x.tar?token=SECRET": "https://h/x.tar?token=***",
    "--url=https://h/v1?a=1&api_key=SECRET&b=2": "--url=https://h/v1?a=1&api_key=***&b=2",
    "https://b.s3.amazonaws.com/x?X-Amz-Credential=SECRET&X-Amz-Date=20260101&X-Amz-Signature=SECRET": (
        "https://b.s3.amazonaws.com/x?X-Amz-Credential=***&X-Amz-Date=20260101&X-Amz-Signature=***"
    ),
    "https://x.blob.core.windows.net/c?sv=2020&sig=SECRET%3D": "https://x.blob.core.windows.net/c?sv=2020&sig=***",
    "https://h/cb#access_token=SECRET": "https://h/cb#access_token=***",
    "https://h/?next=https%3A%2F%2Fi%3Ftoken%3DSECRET": "https://h/?next=https://i?token=***",
    "https://h/?next=https%253A%252F%252Fi%253Fa%253D1%2526sig%253DSECRET": "https://h/?next=https://i?a=1&sig=***",
    "postgres://kim:SECRET@db/x": "postgres://***@db/x",
    "postgres://kim:SEC/RET@db/x": "postgres://***@db/x",
    "mongodb+srv://kim:SEC@RET@db/x": "mongodb+srv://***@db/x",
    "--url=redis://:SECRET@h": "--url=redis://***@h",
    "https://SECRET@h/x?y": "https://***@h/x?y",
    "https://h/x?Expires=1&Signature=SECRET&x-oss-signature=SECRET&q-signature=SECRET": (
        "https://h/x?Expires=1&Signature=***&x-oss-signature=***&q-signature=***"
    ),
    "https://h/x#sig=SECRET --x-amz-signature SECRET": "https://h/x#sig=*** --x-amz-signature ***",
    # Options and variables
    "aws.access_key_id=AbC +aws.secret_access_key=SECRET --aws.accessKeyId AbC": (
        "aws.access_key_id=*** +aws.secret_access_key=*** --aws.accessKeyId ***"
    ),
    "config.aws['secret_access_key']=SECRET x=[--password,SECRET,8]": (
        "config.aws['secret_access_key']=*** x=[--password,***,8]"
    ),
    "\"['--password', 'SECRET']\" db.password=SECRET,SECRET2 a=1,password=SECRET,b=2": (
        "\"['--password', '***']\" db.password=*** a=1,password=***,b=2"
    ),
    "-pSECRET db": "-p*** db",
    "mysql -u root -phunter db": "mysql -u root -p*** db",
    "bash -c 'mysql -u root -phunter db'": "bash -c 'mysql -u root -p*** db'",
    "--password SECRET --lr 1": "--password *** --lr 1",
    "--password -SECRET": "--password ***",
    "--password --SECRET": "--password ***",
    "--password 123456": "--password ***",
    "--wandb_key SECRET --neptune-key=SECRET": "--wandb_key *** --neptune-key=***",
    "--hf_token=SECRET --apiKey SECRET -token=SECRET": "--hf_token=*** --apiKey *** -token=***",
    "--db-pass SECRET --password2=SECRET --api-keys SECRET": "--db-pass *** --password2=*** --api-keys ***",
    "AWS_SECRET_ACCESS_KEY=SECRET AWS_SESSION_TOKEN=SECRET": "AWS_SECRET_ACCESS_KEY=*** AWS_SESSION_TOKEN=***",
    "+db.password=SECRET ++logger.api_key=SECRET": "+db.password=*** ++logger.api_key=***",
    "-u kim:SECRET --user kim:SECRET": "-u kim:*** --user kim:***",
    '\'{"api_key": "SECRET", "lr": 1}\'': '\'{"api_key": "***", "lr": 1}\'',
    "--pw SECRET --pwd SECRET --pass SECRET --auth SECRET --bearer SECRET": (
        "--pw *** --pwd *** --pass *** --auth *** --bearer ***"
    ),
    "--password -- -SECRET": "--password -- ***",
    "--passwords SECRET SECRET2 --lr 1": "--passwords *** *** --lr 1",
    "kim:SECRET@db.org:5432/x --dsn=kim:SECRET@10.0.0.1": "kim:***@db.org:5432/x --dsn=kim:***@10.0.0.1",
    "PGPASSWORD=SECRET --user=kim:SECRET 'curl -u kim:SECRET'": "PGPASSWORD=*** --user=kim:*** 'curl -u kim:***'",
    '\'{"password": "SE\\"CRET", "tokens": ["SECRET", {"a": "SECRET]"}], "lr": 1}\'': (
        '\'{"password": "***", "tokens": ***, "lr": 1}\''
    ),
    "'train.py --password SECRET --lr 1'": "'train.py --password *** --lr 1'",
    "--apitoken SECRET --authtoken=SECRET --sshpass SECRET": "--apitoken *** --authtoken=*** --sshpass ***",
    "OPENAIKEY=SECRET --hftoken SECRET --userpass SECRET": "OPENAIKEY=*** --hftoken *** --userpass ***",
    "--key SECRET0123456789abcdefg key=0123456789abcdefSECRET https://h?key=SECRET": "--key *** key=*** https://h?key=***",
    "opts WANDB.API_KEY SECRET db.password SECRET LR 1": "opts WANDB.API_KEY *** db.password *** LR 1",
    "--clientsecret SECRET --apiSecret=SECRET --login kim:SECRET": "--clientsecret *** --apiSecret=*** --login kim:***",
    "https://h/x?session=SECRET&page=2": "https://h/x?session=***&page=2",
    "--licensekey SECRET --auth-header 'Basic SECRET=='": "--licensekey *** --auth-header ***",
    "--pat SECRET --ado-pat=SECRET AZURE_DEVOPS_EXT_PAT=SECRET --pat2 SECRET": (
        "--pat *** --ado-pat=*** AZURE_DEVOPS_EXT_PAT=*** --pat2 ***"
    ),
    "--psk SECRET --cred=SECRET --passkey SECRET --pass-phrase SECRET": (
        "--psk *** --cred=*** --passkey *** --pass-phrase ***"
    ),
    "--masterkey SECRET --refreshtoken=SECRET --auth_code SECRET --otp SECRET": (
        "--masterkey *** --refreshtoken=*** --auth_code *** --otp ***"
    ),
    # Headers
    "-H 'Authorization: Bearer SECRET'": "-H 'Authorization: ***'",
    "--header=Authorization:_Bearer_SECRET": "--header=Authorization:_***",
    "--header 'X-Api-Key: SECRET'": "--header 'X-Api-Key: ***'",
    "--cookie SECRET": "--cookie ***",
    "'curl -H \"Authorization: Basic SECRET==\" https://h'": "'curl -H \"Authorization: ***\" https://h'",
    "--auth 'Bearer SECRET' --note 'Bearer SECRET'": "--auth *** --note 'Bearer ***'",
    # Keys of well-known services
    "hf_SECRETabcdefghi12": "***",
    "x ghp_SECRET1234567890": "x ***",
    "sk-proj-SECRET1234567890": "***",
    "AKIASECRETABCDEFGH": "***",
    "https://hooks.slack.com/services/T0/B0/SECRET": "https://hooks.slack.com/***",
    "https://api.telegram.org/bot123:SECRET/sendMessage": "https://api.telegram.org/***/sendMessage",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxSECRETifQ.SECRET": "***",
    "'-----BEGIN RSA PRIVATE KEY-----\nSECRET\n'": "***",
}
KEPT = """
--max-tokens 512 --tokenizer gpt2 --num_tokens=5 --key value --monkey=1 --author a@b --max_token=5
--key_frames 3 --token_length 128 --primary_key_column id --primary_key user_id --sort-key=created
--pad_token <pad> --eos_token=</s> --mask_token [MASK] --token 5 --bos_token 0 --placeholder_token cat
--image_key jpg --cache-key v2 --public_key abc --forward-pass fast --bypass=x --compass north
--use_token true --use-auth-token --verbose --password --verbose --token -v
--data s3://bucket/a:b --master tcp://10.0.0.1:29500/x@y --url http://localhost:8080/a@b?page=2&b=c
git@github.com:org/repo.git hf_some_model_name sk-learn-something-else ghost
0123456789abcdef0123456789abcdef01234567 12:30:00 model.layers=1 0:5 dataset:train
--tokens 300B --n_keys 3 --max_tokens=auto --auth basic python:3.11@main repo/image:tag@sha256:0123 recall:ndcg@10
--key loss --key image_features_version_2_normalized --key 12345678901234567890123 key=train/loss_of_2026
--pwd /home/kim --pwd . --pwd ../x --pwd ~/x PWD=/home/kim --turkey a --hotkey=b --monkey c
secrets.yaml x my.tokens.txt x MODEL.KEYS 5 data.tokenizer x train.key x
--patience cosine --pattern x.py --path x --data_path=/x --patch x --compat x --spat x --pat_len x --glob-pattern=y
--pat 5 --pat *.npz pat=train_?.npz --pin-memory x --notplot x --sacred x --risk x --hotpot x --password_length 5
--cred_interval 0.95 --psk-order 8
-p8 -p0.1 -p-1 -p1e-4 -p100M -p1,2 -p8080:80 -pv -pretrained -path=x -p=8 -p./x -ptrain.yaml -pfp16 -p 8
--backend mysql -p8 -p0.1
--db mysql://h/x -pgpu --plan x-pY
tokens=[1,2] key=loss,acc lr=0.1,0.2
--signature serving_default signature=predict --signature_size 8 --key_id x --access_key_id_column x
--password_file /run/x --token-type bearer --secret-name db -u 1000:1000 -u train.py:main
"""


@pytest.mark.parametrize(("command", "expected"), HIDDEN.items(), ids=range(len(HIDDEN)))
def test_secrets_in_a_command_are_hidden_and_nothing_else(command: str, expected: str) -> None:
    assert hide_in_command(shlex.split(command)) == shlex.split(expected)


@pytest.mark.parametrize("command", KEPT.strip().splitlines())
def test_what_only_looks_like_a_secret_is_kept(command: str) -> None:
    assert hide_in_command(command.split()) == command.split()


@pytest.mark.parametrize(
    ("params", "expected", "names"),
    [
        ({"secrets": {"a": {"b": "X"}, "file": "c"}}, {"secrets": {"a": {"b": "***"}, "file": "c"}}, ["secrets.a.b"]),
        ({"lr": 0.1, "note": "x", "key": "a"}, {"lr": 0.1, "note": "x", "key": "a"}, []),
        ({"key": "0123456789abcdefX0123", "pwd": "/home"}, {"key": "***", "pwd": "/home"}, ["key"]),
        (
            {"aws": {"access_key_id": "x", "region": "y"}, "X-Amz-Signature": "z"},
            {"aws": {"access_key_id": "***", "region": "y"}, "X-Amz-Signature": "***"},
            ["aws.access_key_id", "X-Amz-Signature"],
        ),
        ({"api": {"key": "x"}, "data": {"key": "y"}}, {"api": {"key": "***"}, "data": {"key": "y"}}, ["api.key"]),
        ({"token": {"value": "x", "length": 8}}, {"token": {"value": "***", "length": 8}}, ["token.value"]),
        ({"password_policy": {"rounds": 3}}, {"password_policy": {"rounds": 3}}, []),
        ({"cmd": ["mysql", "-phunter", "x"]}, {"cmd": ["mysql", "-p***", "x"]}, ["cmd"]),
        ({"wandb_key": "abc", "b": 1}, {"wandb_key": "***", "b": 1}, ["wandb_key"]),
        ({"db": {"password": "x", "port": 3}}, {"db": {"password": "***", "port": 3}}, ["db.password"]),
        ({"password": 1234, "secret": True}, {"password": "***", "secret": True}, ["password"]),
        ({"api_keys": ["a", "b"]}, {"api_keys": ["***", "***"]}, ["api_keys"]),
        ({"tokens": ["a", "<s>"], "keys": ["b"]}, {"tokens": ["***", "<s>"], "keys": ["b"]}, ["tokens"]),
        ({"argv": ["--password", "x", "y"]}, {"argv": ["--password", "***", "y"]}, ["argv"]),
        ({"data": [{"url": "https://a:b@c"}]}, {"data": [{"url": "https://***@c"}]}, ["data.url"]),
        (
            {"wandb": {"key": "x", "tags": "y"}, "sort": {"key": "y"}},
            {"wandb": {"key": "***", "tags": "y"}, "sort": {"key": "y"}},
            ["wandb.key"],
        ),
        (
            {"env": [{"name": "API_KEY", "value": "x"}, {"name": "lr", "value": "y"}]},
            {"env": [{"name": "API_KEY", "value": "***"}, {"name": "lr", "value": "y"}]},
            ["env.value"],
        ),
        ({"env": {"key": "API_KEY", "value": "x"}}, {"env": {"key": "API_KEY", "value": "***"}}, ["env.value"]),
        (
            {"headers": [["X-Api-Key", "x"], ["token", "y"]]},
            {"headers": [["X-Api-Key", "***"], ["token", "y"]]},
            ["headers"],
        ),
        ({"curl": ["-u", "kim:x", 5]}, {"curl": ["-u", "kim:***", 5]}, ["curl"]),
        ({"opts": ["WANDB.API_KEY", "x", "LR", 1]}, {"opts": ["WANDB.API_KEY", "***", "LR", 1]}, ["opts"]),
        ({"header": "Authorization: Bearer x"}, {"header": "Authorization: ***"}, ["header"]),
        (
            {"pad_token": "<pad>", "eos_token_id": 2, "token": None},
            {"pad_token": "<pad>", "eos_token_id": 2, "token": None},
            [],
        ),
    ],
)
def test_secrets_in_params_are_hidden_and_named(
    params: dict[str, Any], expected: dict[str, Any], names: list[str]
) -> None:
    assert hide_in_params(params) == (expected, names)


@pytest.mark.parametrize(
    "name", ["password_hash", "DB_PASSWORD", "clientSecret", "access_tokens", "x-auth-token", "token2"]
)
def test_names_are_judged_by_their_words(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "A" * 300_000,
        "a:" * 30_000,
        "http://a:b" * 3_000,
        "key=1 " * 10_000,
        "ghp_" * 30_000,
        f"key={'a' * 300_000}",
        f"-p{'a' * 300_000}",
    ],
)
def test_a_long_text_takes_no_time(text: str) -> None:
    assert hide_in_text(text) == text
