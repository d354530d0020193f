"""Whom an HTTPS connection trusts, and what it says about whom it does not."""

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import anyio
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import HttpOptions, connection_failed, http_client
from mcp_orchestra.types import Endpoint

pytestmark = pytest.mark.anyio

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def certificate(folder: Path, *, host: str = "127.0.0.1", days: int = 10) -> Path:
    """Write a self-signed certificate and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=20))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
    )
    signed = builder.sign(key, hashes.SHA256())
    path = folder / "server.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    await writer.drain()
    writer.close()


async def text_from(server_certificate: Path, **options: object) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate)
    with anyio.fail_after(20):
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            endpoint = Endpoint(server_id="x", options=HttpOptions.model_validate({"url": url, **options}))
            async with http_client(endpoint) as client:
                return (await client.get(url)).text


async def reason_from(server_certificate: Path, **options: object) -> MCPConnectionError:
    with pytest.raises(httpx2.ConnectError) as caught:
        await text_from(server_certificate, **options)
    return connection_failed(caught.value, "https://h/")


async def test_an_authority_of_ones_own_is_trusted_when_it_is_configured(tmp_path):
    path = certificate(tmp_path)
    assert await text_from(path, ca_file=str(path)) == "ok"


async def test_an_unknown_authority_is_not_trusted_and_ca_file_is_named(tmp_path):
    error = await reason_from(certificate(tmp_path))
    assert error.context["cause"] == "tls"
    assert "self-signed" in error.message
    assert "ca_file" in error.message


async def test_a_certificate_for_another_host_is_not_accepted(tmp_path):
    path = certificate(tmp_path, host="127.0.0.2")
    error = await reason_from(path, ca_file=str(path))
    assert "is for another" in error.message


async def test_an_expired_certificate_says_so(tmp_path):
    path = certificate(tmp_path, days=-1)
    error = await reason_from(path, ca_file=str(path))
    assert error.message == "cannot connect to https://h/: its certificate has expired"


async def test_a_ca_file_that_has_changed_is_read_again(tmp_path):
    path = certificate(tmp_path)
    assert await text_from(path, ca_file=str(path)) == "ok"
    path = certificate(tmp_path)
    assert await text_from(path, ca_file=str(path)) == "ok"
