"""TLS options: what is wrong is told by name, and what is old is not spoken."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

from holdfast.comfyui.gateway.tls import TlsOptions, tls_options
from holdfast.errors import BadInputError


def made(folder, name, *options):
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [shutil.which("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(certificate)]
    command += ["-days", "2", "-subj", "/CN=localhost", *(options or ("-nodes",))]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return {
        "one": made(folder, "one"),
        "two": made(folder, "two"),
        "locked": made(folder, "locked", "-passout", "pass:sesame"),
    }


def handshake(server, client):
    """Let both speak until they agree."""
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(one, two, server_side=True)
    there = client.wrap_bio(two, one, server_hostname="localhost")
    for _ in range(10):
        for side in (there, here):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return there.version()


def trusting(certificate):
    client = ssl.create_default_context(cafile=str(certificate))
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return client


def test_a_good_pair_speaks_new_tls_and_no_old_one(files):
    certificate, key = files["one"]
    context = tls_options(certificate, key).context()
    assert handshake(context, trusting(certificate)) == "TLSv1.3"
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    twelve = trusting(certificate)
    twelve.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(context, twelve) == "TLSv1.2"


def test_the_server_is_given_what_was_checked(files):
    certificate, key = files["one"]
    settings = TlsOptions(certificate, key).uvicorn()
    assert settings["ssl_certfile"] == str(certificate)
    assert isinstance(settings["ssl_context_factory"](None, None), ssl.SSLContext)


@pytest.mark.parametrize(
    ("names", "password", "words"),
    [
        (("one", "two"), None, "key must belong"),
        (("locked", "locked"), None, "password must be the one of the key, got none"),
        (("locked", "locked"), "wrong", "password must be the one of the key, got a wrong one"),
        (("one", "nowhere"), None, "key must be a file that can be read"),
        (("nowhere", "one"), None, "certificate must be a file that can be read"),
        (("text", "one"), None, "must be PEM files"),
        (("one", None), None, "must be PEM files"),
    ],
)
def test_what_is_wrong_is_told_by_name(files, tmp_path, names, password, words):
    certificate, key = names
    (tmp_path / "text.pem").write_text("hello")
    known = files | {
        "text": (tmp_path / "text.pem", tmp_path / "text.pem"),
        "nowhere": (tmp_path / "nowhere", tmp_path / "nowhere"),
    }
    options = tls_options(known[certificate][0], None if key is None else known[key][1], password)
    with pytest.raises(BadInputError, match=words) as refused:
        options.context()
    assert "sesame" not in str(refused.value)


def test_a_key_with_a_password_is_opened_and_the_password_not_shown(files):
    certificate, key = files["locked"]
    options = tls_options(certificate, key, "sesame")
    assert handshake(options.context(), trusting(certificate)) == "TLSv1.3"
    assert "sesame" not in repr(options)


def test_clients_must_show_a_certificate_where_that_is_asked_for(files):
    certificate, key = files["one"]
    context = tls_options(certificate, key, client_ca=files["two"][0]).context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    client = trusting(certificate)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(context, client)
    client.load_cert_chain(*files["two"])
    assert handshake(context, client) == "TLSv1.2"


def test_a_key_alone_means_nothing(files):
    assert tls_options(None) is None
    with pytest.raises(BadInputError, match="key needs a certificate"):
        tls_options(None, files["one"][1])
