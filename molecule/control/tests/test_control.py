# SPDX-License-Identifier: GPL-3.0-or-later
"""Database, message bus and APIs, as those who use them meet them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

testinfra_hosts = ["ssh://control1"]

CONTROL = "10.78.8.10"
CA = "/etc/ssl/certs/ca-certificates.crt"
# As the services connect (the driver checks chain and address); reads the password, so that the test knows none.
LOG_IN = """
import configparser, sys, urllib.parse, pymysql
settings = configparser.ConfigParser(interpolation=None, strict=False)
settings.read("/etc/keystone/keystone.conf")
address = urllib.parse.urlsplit(settings["database"]["connection"])
tls, database, password = sys.argv[1] == "tls", sys.argv[2], sys.argv[3] or address.password
options = {"ssl": {"ca": "%s"}} if tls else {"ssl_disabled": True}
try:
    connection = pymysql.connect(host="%s", user=address.username, password=password, database=database, **options)
    cursor = connection.cursor()
    cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
    print(cursor.fetchone()[1])
except pymysql.err.MySQLError as error:
    print(error.args[0])
"""


@pytest.mark.parametrize(
    ("way", "database", "password", "answer"),
    [
        ("tls", "keystone", "", "TLSv1.3"),
        ("tls", "keystone", "wrong", "1045"),
        ("tls", "mysql", "", "1044"),
        ("clear", "keystone", "", "3159"),
    ],
)
def test_the_database_takes_its_service_by_tls_alone(
    host: Host, way: str, database: str, password: str, answer: str
) -> None:
    program = LOG_IN % (CA, CONTROL)
    assert host.check_output("python3 -c %s %s %s %s", program, way, database, password) == answer


def test_the_bus_has_no_guest_and_quorum_queues(host: Host) -> None:
    assert "guest" not in host.check_output("rabbitmqctl -q list_users")
    assert host.check_output("rabbitmqctl -q list_vhosts name default_queue_type").split()[-2:] == ["/", "quorum"]


@pytest.mark.parametrize("port", [5000, 5671, 6641, 6642])
def test_it_is_tls_of_the_sites_authority(host: Host, port: int) -> None:
    command = "openssl s_client -connect %s:%s -CAfile %s -verify_ip %s -brief </dev/null 2>&1 | grep Verif"
    assert host.check_output(command, CONTROL, str(port), CA, CONTROL) == "Verification: OK"


@pytest.mark.parametrize("port", [4369, 5672, 25672, 3306])
def test_nothing_is_open_but_to_those_who_need_it(host: Host, connects: Callable[[str, int], bool], port: int) -> None:
    assert not connects(CONTROL, port)
    if port != 3306:
        assert not host.socket(f"tcp://{CONTROL}:{port}").is_listening
        assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_the_network_databases_want_a_certificate(host: Host) -> None:
    client = "ovn-nbctl --timeout=5 --db=ssl:%s:6641 -C /etc/ovn/tls/ca.crt"
    own = f"{client} -p /etc/ovn/tls/tls.key -c /etc/ovn/tls/tls.crt get-connection"
    assert host.check_output(own, CONTROL) == f"pssl:6641:{CONTROL}"
    stranger = host.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=stranger -days 1"
        " -keyout /root/stranger.key -out /root/stranger.crt"
    )
    assert stranger.rc == 0
    assert host.run(f"{client} -p /root/stranger.key -c /root/stranger.crt get-connection", CONTROL).rc != 0


def test_the_gateway_has_joined(host: Host) -> None:
    assert "gateway1" in host.check_output("ovn-sbctl --timeout=5 --bare --columns=hostname list Chassis")


def test_the_api_answers_by_its_name(host: Host) -> None:
    url = "https://api.control.updraft.internal:5000/v3"
    program = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).status)"
    assert host.check_output("python3 -c %s %s", program, url) == "200"


def test_no_old_tls(host: Host) -> None:
    old = host.run("openssl s_client -connect %s:5000 -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null", CONTROL)
    assert old.rc != 0


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
