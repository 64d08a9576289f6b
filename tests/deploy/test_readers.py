"""Readers with a certificate, by Ansible: the port is opened for them alone, and
files that are missing, or others than they should be, are noticed before
anything is touched."""

import pytest

from plays import BOOKS, played, spec

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
CRL = CERTIFICATE.replace("CERTIFICATE", "X509 CRL")
KEY = CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY")


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """settings.yml with values: status and what it said."""
    d = tmp_path_factory.mktemp("readers")
    for name, text in (("cert.pem", CERTIFICATE), ("crl.pem", CRL),
                       ("key.pem", KEY)):
        (d / name).write_text(text)
    container = spec("edge")
    plays = [{
        "hosts": "edge", "gather_facts": False,
        "vars_files": [f"{BOOKS}/group_vars/all/main.yml",
                       f"{BOOKS}/roles/edge/defaults/main.yml"],
        "tasks": [
            {"include_tasks": f"{BOOKS}/tasks/settings.yml"},
            {"debug": {"msg": "ports={{ ports }} revision={{ revision }}"},
             "vars": {"ports": container["ports"],
                      "revision": container["revision"]}}]}]

    def run(**values):
        return played(d, plays, {
            "logbroker_senders": "anyone",
            "logbroker_clickhouse_password": "x" * 16,
            **{k: f"{d}/{v}" for k, v in values.items()}})
    return run


OWN = {"logbroker_tls_cert_file": "cert.pem", "logbroker_tls_key_file": "key.pem"}


def test_the_port_is_theirs_alone(play):
    status, said = play(**OWN)
    assert status == 0 and "8444" not in said and "readers" not in said, said
    status, said = play(**OWN, logbroker_tls_readers_file="cert.pem")
    assert status == 0 and "'9443:8444'" in said and " readers rules" in said, said
    status, said = play(**OWN, logbroker_tls_readers_file="cert.pem",
                        logbroker_tls_readers_crl_file="crl.pem")
    assert status == 0 and " readers crl rules" in said, said


@pytest.mark.parametrize("values, words", [
    ({"logbroker_tls_readers_file": "cert.pem"},
     "logbroker_tls_readers_file needs a certificate of the edge"),
    ({**OWN, "logbroker_tls_readers_crl_file": "crl.pem"},
     "logbroker_tls_readers_crl_file needs logbroker_tls_readers_file"),
    ({**OWN, "logbroker_tls_readers_file": "none.pem"},
     "logbroker_tls_readers_file: there is no file"),
    ({**OWN, "logbroker_tls_readers_file": "key.pem"},
     "CERTIFICATE-----"),
    ({**OWN, "logbroker_tls_readers_file": "cert.pem",
      "logbroker_tls_readers_crl_file": "cert.pem"},
     "X509 CRL-----"),
    ({"logbroker_clickhouse_ca_file": "none.pem"},
     "logbroker_clickhouse_ca_file: there is no file"),
])
def test_files_are_looked_at_first(play, values, words):
    status, said = play(**values)
    assert status != 0 and words in said, said
