import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from policyd.service.addresses import parse_listen

UNITS = Path(__file__).parents[2] / "systemd"
Unit = dict[str, list[str]]


def read(name: str) -> Unit:
    """Return the settings of a unit file; a key may stand there more than once."""
    settings: Unit = {}
    for line in (UNITS / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


@pytest.fixture(scope="module")
def service() -> Unit:
    return read("policyd.service")


@pytest.fixture(scope="module")
def sockets() -> Unit:
    return read("policyd.socket")


def systemd_analyze(*arguments: str | Path) -> str:
    """Run systemd-analyze, which needs no running systemd, and return what it says."""
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is not installed (apt install systemd)"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        ["systemd-analyze", *arguments, "--no-pager"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def installed(directory: Path) -> list[Path]:
    """Copy the units to *directory* as if the program that they start were installed."""
    service = (UNITS / "policyd.service").read_text()
    changed, count = re.subn(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", service)
    assert count == 1
    (directory / "policyd.service").write_text(changed)
    shutil.copy(UNITS / "policyd.socket", directory)
    return [directory / "policyd.service", directory / "policyd.socket"]


def test_systemd_takes_the_units_without_a_word(tmp_path: Path) -> None:
    assert systemd_analyze("verify", "--man=no", *installed(tmp_path)) == ""


def test_systemd_takes_the_unix_listener_that_is_commented_out(tmp_path: Path) -> None:
    service, sockets = installed(tmp_path)
    text, count = re.subn(r"(?m)^#([A-Z]\w+=)", r"\1", sockets.read_text())
    assert count == 4
    sockets.write_text(text)
    assert systemd_analyze("verify", "--man=no", service, sockets) == ""


def test_the_sandbox_is_tight() -> None:
    # The threshold is ten times the score: 1.5 is the promise.
    said = systemd_analyze(
        *("security", "--offline=true", "--threshold=15"), UNITS / "policyd.service"
    )
    assert "Overall exposure level for policyd.service" in said


def test_the_socket_is_the_address_that_postfix_is_told(sockets: Unit) -> None:
    (address,) = sockets["ListenStream"]
    assert parse_listen(f"tcp:{address}").is_loopback
    assert address == "127.0.0.1:10040"
    assert "Accept" not in sockets
    assert "Service" not in sockets  # the unit of the same name is meant


def test_the_service_gets_its_sockets_before_it_starts(service: Unit) -> None:
    assert service["Requires"] == ["policyd.socket"]
    assert "policyd.socket" in service["After"][0].split()
    assert service["Also"] == ["policyd.socket"]
    assert "--listen" not in service["ExecStart"][0]


def test_the_service_writes_where_systemd_lets_it(service: Unit) -> None:
    _, _, state = service["ExecStart"][0].partition("--state ")
    assert [state] == [f"/var/lib/{name}" for name in service["StateDirectory"]]
    assert service["StateDirectoryMode"] == ["0700"]
    assert "ReadWritePaths" not in service


def test_the_service_reads_the_rules_where_they_are_installed(service: Unit) -> None:
    assert " --config /etc/policyd/policy.yaml " in service["ExecStart"][0]


def test_the_unix_listener_is_within_the_chroot_of_postfix() -> None:
    text = (UNITS / "policyd.socket").read_text()
    (path,) = re.findall(r"(?m)^#ListenStream=/var/spool/postfix/(.*)", text)
    assert f"check_policy_service unix:{path}\n" in text


def test_a_broken_rule_file_is_not_tried_again_and_again(service: Unit) -> None:
    assert service["Restart"] == ["on-failure"]
    assert "1" in service["RestartPreventExitStatus"][0].split()
    # It would come to five starts before the interval is over, and so to an end.
    assert int(service["StartLimitBurst"][0]) * int(service["RestartSec"][0]) < int(
        service["StartLimitIntervalSec"][0]
    )


def test_both_units_let_in_this_machine_only(service: Unit, sockets: Unit) -> None:
    for unit in (service, sockets):
        assert unit["IPAddressDeny"] == ["any"]
        assert unit["IPAddressAllow"] == ["localhost"]
