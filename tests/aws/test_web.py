"""Requests beside boto3's: by the certificates and proxies that boto3 takes."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provision.account.smoke_tests import post
from provision.aws.calls import Calls
from provision.aws.clients import Target
from provision.aws.connect import connect
from provision.aws.web import NotTrusted, send
from tests.rig.answers import Answer, Server, caller_identity, in_turn


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a proxy that reads along")])
    now = datetime.datetime.now(datetime.timezone.utc)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    file = tmp_path / "authority.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    """The URL of a server that shows that certificate."""
    with Server(in_turn(Answer(body=b"here"))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        yield f"https://127.0.0.1:{server.port}/Staging"


def on_aws(verify: bool | str = True) -> Any:
    return SimpleNamespace(is_sandbox=False, verify=verify)


def test_a_certificate_that_is_named_is_trusted_and_another_is_final(certificate: Path, secure: str) -> None:
    assert post(on_aws(str(certificate)), secure, {}) == (200, "here")
    with pytest.raises(NotTrusted, match=r"answers for 127\.0\.0\.1 is not trusted: .*CERTIFICATE_VERIFY_FAILED"):
        post(on_aws(), secure, {})


def test_what_the_clients_trust_is_trusted_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[default]\nca_bundle = /of/the/profile.pem\n")
    with Server(in_turn(caller_identity())) as sts:

        def verify() -> Any:
            aws = connect(Target(endpoint_url=sts.url), Calls())
            assert aws.verify == aws.sts._endpoint.http_session._verify
            return aws.verify

        assert verify() is True
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/of/others.pem")
        assert verify() == "/of/others.pem"
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        assert verify() == "/of/the/profile.pem"
        monkeypatch.setenv("AWS_CA_BUNDLE", "/of/the/environment.pem")
        assert verify() == "/of/the/environment.pem"


def test_a_proxy_is_asked_as_by_boto3_but_not_for_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server(in_turn(Answer(body=b"by proxy"))) as proxy, Server(in_turn(Answer(404))) as emulator:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert send(on_aws(), "GET", "http://nowhere.invalid/x") == (200, b"by proxy")
        assert proxy.asked[-1].path == "http://nowhere.invalid/x"
        assert send(on_aws(), "GET", emulator.url)[1] == b"by proxy", "an emulator, too: boto3 asks the proxy for it"
        local = SimpleNamespace(is_sandbox=True, verify=True)
        assert post(local, emulator.url, {}) == (404, "")  # type: ignore[arg-type]
    assert len(proxy.asked) == 2
    assert post(local, emulator.url, {})[0] == 0  # type: ignore[arg-type]  # nobody answers there any more
