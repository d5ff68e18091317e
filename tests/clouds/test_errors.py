"""A problem with a bucket, its permissions or the way to it is one clear message, and exit status 1."""

from __future__ import annotations

import json
import ssl
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud.storage.retry import DEFAULT_RETRY

import keepsake
from keepsake.cli import cli
from keepsake.exceptions import KeepsakeError
from keepsake.project import Project
from keepsake.storage import gcs, s3
from tests.clouds.conftest import in_clouds
from tests.spools import nothing_waits
from tests.storage.benches import Bench
from tests.storage.proxy import Proxy, reply

Break = Callable[[Proxy, pytest.MonkeyPatch, Path], None]


def refused(status: str, code: str) -> Break:
    def break_it(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
        body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
        proxy.fault = lambda request: reply(status, body, Content_Type="application/xml")

    return break_it


def mistyped(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    file = project / "keepsake.yaml"
    file.write_text(file.read_text().replace("://keepsake-", "://kepsake-"))


def _use_https(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    for variable in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(variable, f"https://{server}")


def without_https(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    _use_https(monkeypatch, proxy.upstream.netloc)


def untrusted(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """With a server whose certificate nobody has signed but itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime(2020, 1, 1)
    certificate = x509.CertificateBuilder(name, name, private.public_key(), 1, start, start + timedelta(days=36500))
    both = project / "server.pem"
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(key + certificate.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    server = ThreadingHTTPServer(("localhost", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # the client hangs up
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _use_https(monkeypatch, f"localhost:{server.server_port}")


def without(*names: str) -> Break:
    def break_it(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
        for name in names:
            monkeypatch.delenv(name)

    return break_it


def signing_in_fails(answer: str) -> Break:
    """With a service account's key, whose server refuses it."""

    def break_it(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        key = {"type": "service_account", "client_email": "me@example.com", "project_id": "project"}
        key |= {"private_key": private.decode(), "token_uri": f"{proxy.address}/token"}
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        monkeypatch.setenv("API_ENDPOINT_OVERRIDE", proxy.address)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", json.dumps(key))
        description = json.dumps({"error": "invalid_grant", "error_description": answer})
        proxy.fault = lambda request: reply("400 Bad Request", description, Content_Type="application/json")

    return break_it


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(gcs, "_PATIENCE", {"timeout": (1, 5), "retry": DEFAULT_RETRY.with_timeout(0)})


def check(project: Path, advice: str) -> None:
    """`keepsake ls` and init() tell the same."""
    done = CliRunner().invoke(cli, ["ls"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("═══╡") == 1
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    assert advice in done.stderr
    with pytest.raises(KeepsakeError) as caught:
        Project().experiments.create()
    assert advice in str(caught.value)
    assert nothing_waits(project)


@pytest.mark.parametrize(
    ("place", "break_it", "advice"),
    [
        ("s3", without("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "aws configure"),
        ("s3", refused("403 Forbidden", "AccessDenied"), "s3:PutObject"),
        ("s3", refused("403 Forbidden", "InvalidAccessKeyId"), "AWS_PROFILE"),
        ("s3", refused("400 Bad Request", "AuthorizationHeaderMalformed"), "AWS_REGION"),
        ("s3", refused("403 Forbidden", "RequestTimeTooSkewed"), "clock"),
        ("s3", untrusted, "AWS_CA_BUNDLE"),
        ("s3", without_https, "does not speak HTTPS"),
        ("gs", without("STORAGE_EMULATOR_HOST"), "gcloud auth application-default login"),
        ("gs", refused("403 Forbidden", "forbidden"), "roles/storage.objectUser"),
        ("gs", refused("401 Unauthorized", "required"), "gcloud auth application-default login"),
        ("gs", signing_in_fails("Invalid JWT: Token must be a short-lived token (60 minutes)"), "clock"),
        ("gs", signing_in_fails("Invalid grant: account not found"), "gcloud auth application-default login"),
        ("gs", untrusted, "REQUESTS_CA_BUNDLE"),
    ],
    indirect=["place"],
)
def test_what_is_wrong_is_said(
    place: Bench,
    project_directory: Path,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Break,
    advice: str,
) -> None:
    break_it(proxy, monkeypatch, project_directory)
    check(project_directory, advice)


@in_clouds
def test_a_missing_bucket_is_made_by_the_first_run(project_directory: Path, place: Bench) -> None:
    bucket = f"keepsake-{uuid.uuid4().hex}"
    repository = f"{place.url.partition('://')[0]}://{bucket}/runs"
    (project_directory / "keepsake.yaml").write_text(f"repository: {repository}\n")
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"loss": 0.5})
    experiment.stop()
    done = CliRunner().invoke(cli, ["ls", "-q"])
    assert (done.exit_code, done.stdout.split()) == (0, [experiment.id])


@in_clouds
def test_ls_reports_a_mistyped_bucket_and_does_not_make_it(
    place: Bench, project_directory: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keepsake ls` reports it and does not create it."""
    mistyped(proxy, monkeypatch, project_directory)
    for _ in range(2):
        done = CliRunner().invoke(cli, ["ls"])
        assert (done.exit_code, done.stdout) == (1, "")
        assert "spelling" in done.stderr
        assert {request.method for request in proxy.requests} == {"GET"}


@in_clouds
@pytest.mark.parametrize("command", ["push", "pull"])
def test_copying_makes_no_bucket(place: Bench, project_directory: Path, command: str) -> None:
    (project_directory / "keepsake.yaml").write_text("repository: file://repo\n")
    keepsake.init().stop()
    url = f"{place.url.partition('://')[0]}://keepsake-{uuid.uuid4().hex}/runs"
    for _ in range(2):
        done = CliRunner().invoke(cli, [command, url])
        assert (done.exit_code, done.stdout) == (1, "")
        assert "spelling" in done.stderr
