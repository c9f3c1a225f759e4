"""Every way in, as the documentation shows it, against a real Kafka; and every way to get it wrong, said in one line."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from streamkit.errors import BrokerUnavailableError, StoreUnavailableError

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "brokers" / "kafka.md"
EXAMPLE = "kafka.example.com:9093"
PROGRAM = """
from streamkit import Context, Record, record_processor


@record_processor
def handle(record: Record, context: Context) -> None:
    print(record.value.decode(), flush=True)
"""
REJECTING = """
from streamkit import Context, Record, Reject, record_processor


@record_processor
def handle(record: Record, context: Context) -> Reject:
    return Reject("not wanted")
"""
AFTER_SECONDS = 60.0
"""Far above what a start takes here (three seconds), and far below for ever."""


def shown() -> dict[str, dict[str, str]]:
    """The blocks of the page's section, each by what it does."""
    section = PAGE.read_text("utf-8").partition("## TLS and logging in\n")[2].partition("\n## ")[0]
    blocks = [dict(line.split("=", 1) for line in text.splitlines()) for text in re.findall(r"```ini\n(.*?)```", section, re.DOTALL)]
    named = {}
    for block in blocks:
        options = block.get("STREAMKIT_KAFKA__OPTIONS", "")
        mechanism = block.get("STREAMKIT_KAFKA__SASL_MECHANISM", "mtls" if "certificate" in options else "ssl")
        named[f"{mechanism}-{'oidc' if 'oidc' in options else 'callback'}" if mechanism == "OAUTHBEARER" else mechanism] = block
    return named


SHOWN = shown()


def expiring(seconds: int) -> tuple[str, float]:
    """An unsigned token, which this broker accepts, and when it ends."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": "alice", "iat": now, "exp": now + seconds})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".", now + seconds


def token_for(seconds: int) -> str:
    return expiring(seconds)[0]


class Login(BaseHTTPRequestHandler):
    """An identity provider that knows one secret."""

    def do_POST(self):
        given = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        good = given == "billing:secret"
        body = json.dumps({"access_token": token_for(300), "expires_in": 300} if good else {"error": "invalid_client"}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture(scope="module")
def login():
    """The address that gives tokens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Login) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def topic(secure_server):
    """With one record."""
    from confluent_kafka import Producer
    from streamkit_sandbox.kafka_topics import create_topic

    name = create_topic(secure_server.bootstrap_servers, 1, {})
    producer = Producer({"bootstrap.servers": secure_server.bootstrap_servers})
    producer.produce(name, b"a record")
    assert producer.flush(20) == 0
    return name


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "reading.py").write_text(PROGRAM)
    (tmp_path / "rejecting.py").write_text(REJECTING)
    (tmp_path / "token").write_text(token_for(300))
    shutil.copy(ROOT / "docs" / "snippets" / "my_tokens.py", tmp_path)
    return tmp_path


@pytest.fixture
def run(topic, folder):
    """`streamkit run` with these variables, to the end of the topic. What it printed, what it said, its exit code and its seconds."""

    def start(variables, program="reading", **changed):
        mine = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMKIT_")}
        mine |= {"STREAMKIT_BROKER": "kafka", "STREAMKIT_STREAM": topic, "STREAMKIT_GROUP": f"g-{uuid.uuid4().hex[:8]}"}
        mine |= {"STREAMKIT_STOP": "at_end", **variables}
        mine |= {f"STREAMKIT_{name}": value for name, value in changed.items()}
        began = time.monotonic()
        command = [sys.executable, "-m", "streamkit", "run", f"{program}:handle"]
        done = subprocess.run(command, cwd=folder, env=mine, capture_output=True, text=True, timeout=90, check=False)
        return done, time.monotonic() - began

    return start


@pytest.fixture
def real(secure_server, login, folder):
    """The variables of a block with this server's address, files, user and password."""

    def replaced(block):
        listener = {"mtls": "mtls", "ssl": "ssl"}.get(block, "sasl_ssl")
        security = secure_server.security
        words = {
            EXAMPLE: servers(secure_server, listener),
            "/etc/ssl/kafka-ca.pem": str(security.authority),
            "/etc/ssl/me.pem": str(security.client_certificate),
            "/etc/ssl/me.key": str(security.client_key),
            "/var/run/secrets/tokens/kafka": str(folder / "token"),
            "https://login.example.com/token": login,
        }
        found = {}
        for name, text in SHOWN[block].items():
            for word, ours in words.items():
                text = text.replace(word, ours)
            found[name] = text
        if "STREAMKIT_KAFKA__SASL_PASSWORD" in found:
            found |= {"STREAMKIT_KAFKA__SASL_USERNAME": "alice", "STREAMKIT_KAFKA__SASL_PASSWORD": "alice-secret"}
        return found

    return replaced


def servers(server, listener):
    mechanism = "PLAIN" if listener.startswith("sasl") else ""
    return server.settings(listener, mechanism)["STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"]


def test_the_page_shows_each_way_in():
    wanted = {"ssl", "mtls", "PLAIN", "SCRAM-SHA-512", "OAUTHBEARER-oidc", "OAUTHBEARER-callback"}
    assert set(SHOWN) == wanted
    assert all(block["STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"] == EXAMPLE for block in SHOWN.values())


@pytest.mark.integration
@pytest.mark.parametrize("block", SHOWN)
def test_a_processor_reads_with_the_settings_that_the_page_shows(run, real, block):
    done, _ = run(real(block))
    assert (done.stdout, done.returncode) == ("a record\n", 0), done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("sasl_ssl", "SCRAM-SHA-256"), *(("sasl_plaintext", name) for name in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"))],
)
def test_a_processor_reads_through_each_other_listener(run, secure_server, listener, mechanism):
    done, _ = run(secure_server.settings(listener, mechanism))
    assert (done.stdout, done.returncode) == ("a record\n", 0), done.stderr


@pytest.mark.integration
def test_static_partitions_are_read_with_a_login_too(run, real, folder):
    more = {"OWNERSHIP": "static", "PARTITIONS": "0", "STORE": "sqlite", "SQLITE__PATH": str(folder / "checkpoints.db")}
    done, _ = run(real("SCRAM-SHA-512"), **more)
    assert (done.stdout, done.returncode) == ("a record\n", 0), done.stderr


@pytest.mark.integration
def test_dead_letters_are_written_with_the_same_login(run, real, secure_server):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec
    from streamkit_sandbox.kafka_topics import create_topic

    target = create_topic(secure_server.bootstrap_servers, 1, {})
    done, _ = run(real("OAUTHBEARER-callback"), "rejecting", ON_FAILURE="dead_letter", DEAD_LETTER=f"kafka:{target}")
    assert done.returncode == 0, done.stderr
    admin = AdminClient({"bootstrap.servers": secure_server.bootstrap_servers})
    (end,) = admin.list_offsets({TopicPartition(target, 0): OffsetSpec.latest()}).values()
    assert end.result(20).offset == 1


def refused(outcome, *words):
    """The start ended in bounded time with one line and its fix, which have all of `words` in them and no secret."""
    done, seconds = outcome
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert seconds < AFTER_SECONDS
    assert done.stdout == ""
    told = [line for line in lines if line.startswith(("streamkit: ", "  fix: "))][-2:]
    assert told[-1].startswith("  fix: "), done.stderr
    for word in words:
        assert word in "\n".join(told), done.stderr
    assert not re.search(r"Traceback|typo|alice-secret|not-a-token|eyJ", done.stderr), done.stderr


CA, SERVERS, PROTOCOL = (f"STREAMKIT_KAFKA__{name}" for name in ("SSL_CA_LOCATION", "BOOTSTRAP_SERVERS", "SECURITY_PROTOCOL"))


@pytest.mark.integration
@pytest.mark.parametrize("block", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_names_user_and_password(run, real, block):
    refused(run(real(block), KAFKA__SASL_PASSWORD="typo"), "STREAMKIT_KAFKA__SASL_USERNAME", "STREAMKIT_KAFKA__SASL_PASSWORD")


@pytest.mark.integration
def test_a_mechanism_that_the_broker_does_not_offer_names_those_that_it_does(run, real):
    refused(run(real("PLAIN"), KAFKA__SASL_MECHANISM="SCRAM-SHA-1"), "STREAMKIT_KAFKA__SASL_MECHANISM", "SCRAM-SHA-256")


@pytest.mark.integration
def test_kerberos_that_is_not_built_in_is_said(run, real):
    refused(run(real("PLAIN"), KAFKA__SASL_MECHANISM="GSSAPI"), "STREAMKIT_KAFKA__SASL_MECHANISM", "built with it")


@pytest.mark.integration
def test_a_wrong_authority_is_told_from_a_wrong_name(run, real, folder):
    import trustme

    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    refused(run(real("ssl"), KAFKA__SSL_CA_LOCATION=str(folder / "other.pem")), "certificate of 127.0.0.1:", f"set {CA}", "other.pem")
    found = real("ssl")
    elsewhere = found[SERVERS].replace("127.0.0.1", "localhost")
    v4 = json.dumps({"broker.address.family": "v4"})
    refused(run(found | {SERVERS: elsewhere}, KAFKA__OPTIONS=v4), "not valid for 'localhost'", f"broker in {SERVERS}")


@pytest.mark.integration
@pytest.mark.parametrize("text", [None, "not a certificate"])
def test_an_authority_that_cannot_be_read_is_named(run, real, folder, text):
    if text is not None:
        (folder / "odd.pem").write_text(text)
    refused(run(real("ssl"), KAFKA__SSL_CA_LOCATION=str(folder / "odd.pem")), CA, "can be read")


@pytest.mark.integration
@pytest.mark.parametrize("own", [False, True], ids=["none", "a stranger's"])
def test_a_client_certificate_that_the_broker_does_not_trust_is_said(run, real, folder, own):
    import trustme

    options = {}
    if own:
        stranger = trustme.CA().issue_cert("stranger.example.com")
        stranger.private_key_and_cert_chain_pem.write_to_path(folder / "stranger.pem")
        options = {"ssl.certificate.location": str(folder / "stranger.pem"), "ssl.key.location": str(folder / "stranger.pem")}
    refused(run(real("mtls"), KAFKA__OPTIONS=json.dumps(options)), "ssl.certificate.location", "STREAMKIT_KAFKA__OPTIONS")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("listener", "protocol", "fix"),
    [
        ("ssl", "plaintext", f"set {PROTOCOL}=ssl"),
        ("sasl_ssl", "sasl_plaintext", f"set {PROTOCOL}=sasl_ssl"),
        ("", "ssl", f"set {PROTOCOL}=plaintext"),
        ("sasl_plaintext", "sasl_ssl", f"set {PROTOCOL}=sasl_plaintext"),
        ("sasl_plaintext", "plaintext", f"set {PROTOCOL}=sasl_plaintext"),
        ("sasl_ssl", "ssl", f"set {PROTOCOL}=sasl_ssl"),
        ("ssl", "sasl_ssl", f"set {PROTOCOL}=plaintext (with TLS: ssl)"),
    ],
)
def test_a_protocol_that_the_listener_does_not_speak_names_the_one_that_it_does(run, secure_server, listener, protocol, fix):
    found = secure_server.settings()
    if listener:
        found[SERVERS] = servers(secure_server, listener)
    found |= {PROTOCOL: protocol, CA: str(secure_server.security.authority)}
    if protocol.startswith("sasl"):
        found |= {
            f"STREAMKIT_KAFKA__SASL_{name}": text for name, text in (("MECHANISM", "PLAIN"), ("USERNAME", "alice"), ("PASSWORD", "typo"))
        }
    refused(run(found), fix)


@pytest.mark.integration
def test_a_login_at_the_identity_provider_that_fails_is_said_without_the_secret(run, real):
    found = real("OAUTHBEARER-oidc")
    options = json.loads(found["STREAMKIT_KAFKA__OPTIONS"]) | {"sasl.oauthbearer.client.secret": "typo"}
    refused(run(found, KAFKA__OPTIONS=json.dumps(options)), "invalid_client", "sasl.oauthbearer.")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('not-a-token')", "raised RuntimeError"),
        ("return 'not-a-token'", "returned str"),
        ("return 'not-a-token', 0", "has expired"),
        ("return 'not-a-token', 4e9", "invalid_token"),
    ],
    ids=["raises", "no pair", "expired", "refused"],
)
def test_a_callback_that_gives_no_token_is_said_without_what_it_gave(run, real, folder, code, words):
    (folder / "my_tokens.py").write_text(f"def token(config):\n    {code}\n")
    refused(run(real("OAUTHBEARER-callback")), "STREAMKIT_KAFKA__OAUTH_CALLBACK", words)


def patiently(member, condition, said=None):
    """Polls as the engine does, which tries again after what is retryable. `said`: where that is noted."""
    deadline = time.monotonic() + AFTER_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        try:
            member.poll()
        except BrokerUnavailableError as error:
            if said is not None:
                said.append(error)


@pytest.mark.integration
def test_a_login_that_is_refused_while_a_worker_runs_is_said_once_and_tried_again(kafka):
    """A password that somebody changes, and changes back."""
    from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kafka_topics import create_topic

    with KafkaServer(security=True, connections_max_reauth_ms=2000) as server:
        topic = create_topic(server.bootstrap_servers, 1, {})
        kafka.produce(topic, [b"before"], servers=server.bootstrap_servers)
        admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})

        def change(password):
            kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
            (answer,) = admin.alter_user_scram_credentials([UserScramCredentialUpsertion("alice", kind, password.encode())]).values()
            answer.result(20)

        fields = {
            "bootstrap_servers": servers(server, "sasl_ssl"),
            "security_protocol": "sasl_ssl",
            "ssl_ca_location": str(server.security.authority),
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_username": "alice",
            "sasl_password": "alice-secret",
        }
        member = kafka.member(topic, **fields)
        patiently(member, lambda: member.values)
        change("another")
        said = []
        patiently(member, lambda: any("invalid credentials" in str(error) for error in said), said)
        assert all(error.retryable for error in said)
        assert not any("alice-secret" in str(error) for error in said)
        change("alice-secret")
        kafka.produce(topic, [b"after"], servers=server.bootstrap_servers)
        patiently(member, lambda: [b"before", b"after"] in member.values.values())
        member.leave()


@pytest.mark.integration
def test_tokens_are_asked_for_anew_before_they_end_and_idle_clients_go_on(kafka, secure_server, topic, monkeypatch):
    """The broker ends a session with its token: all clients are used again after the life of their first."""
    asked = []
    own = ModuleType("tokens_of_this_test")
    own.give = lambda config: (asked.append(config), expiring(8))[1]
    monkeypatch.setitem(sys.modules, own.__name__, own)
    fields = {
        "bootstrap_servers": servers(secure_server, "sasl_ssl"),
        "security_protocol": "sasl_ssl",
        "ssl_ca_location": str(secure_server.security.authority),
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_callback": f"{own.__name__}:give",
    }
    member = kafka.member(topic, **fields)
    patiently(member, lambda: member.values)
    first, until = len(asked), time.monotonic() + 11
    # Such short tokens may cost a connection now and then: librdkafka looks for a new one only once a second.
    patiently(member, lambda: time.monotonic() > until)
    assert len(asked) > first
    assert set(asked) == {""}
    (partition,) = member.grants

    def tip():
        try:
            return kafka.drive(member.broker.tips([partition]))[0]
        except BrokerUnavailableError:
            return None

    patiently(member, tip)

    def saved():
        try:
            return not [answer for answer in member.save() if isinstance(answer, Exception)]
        except StoreUnavailableError:
            return False

    patiently(member, saved)
