import re
import shutil
import subprocess
from pathlib import Path

import pytest
from excuse import need

from policyd.cli.admin_client import DEFAULT_SOCKET
from policyd.service.addresses import parse_listen
from policyd.service.admin_socket import ADMINISTRATORS

UNITS = Path(__file__).parents[2] / "systemd"
SOCKETS = "policyd.socket", "policyd-milter.socket"
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
    need("systemd-analyze", "systemd")
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
    for name in SOCKETS:
        shutil.copy(UNITS / name, directory)
    return [directory / name for name in ("policyd.service", *SOCKETS)]


def test_systemd_takes_the_units_without_a_word(tmp_path: Path) -> None:
    assert systemd_analyze("verify", "--man=no", *installed(tmp_path)) == ""


def test_systemd_takes_the_unix_listener_that_is_commented_out(tmp_path: Path) -> None:
    service, sockets, _ = installed(tmp_path)
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


def test_administrators_have_a_group_that_stays(service: Unit, tmp_path: Path) -> None:
    (group,) = service["SupplementaryGroups"]
    assert group == ADMINISTRATORS
    need("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "policyd.sysusers.conf"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(?m)^(\S+):x:\d+:$", (tmp_path / "etc/group").read_text()) == [group]


def test_the_socket_for_administrators_is_where_they_look(service: Unit) -> None:
    assert f"/run/{service['RuntimeDirectory'][0]}/" in DEFAULT_SOCKET
    assert "RuntimeDirectoryPreserve" not in service  # it would hide the directory from them
    assert "--admin" not in service["ExecStart"][0]


def test_the_service_sees_who_administrators_are(service: Unit) -> None:
    # mapped to a namespace of its own they would all be nobody
    assert "PrivateUsers" not in service
    assert service["SystemCallFilter"][-1] == "@chown setpriority"


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


# hooks

WIDER = UNITS / "policyd.service.d" / "hooks.conf.example"


def calls(name: str) -> set[str]:
    """Return the system calls of a set, and of the sets in it; a call is one itself."""
    if not name.startswith("@"):
        return {name}
    found: set[str] = set()
    for word in systemd_analyze("syscall-filter", name).split():
        if word.startswith("@") and word != name:
            found |= calls(word)
        else:
            found.add(word)
    return found


def test_a_hook_reaches_a_socket_and_this_machine(service: Unit) -> None:
    families = service["RestrictAddressFamilies"][0].split()
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(families)
    assert "localhost" in service["IPAddressAllow"]
    assert "NoExecPaths" not in service


def test_a_hook_can_be_run_and_ended(service: Unit) -> None:
    allowed: set[str] = set()
    for line in service["SystemCallFilter"]:
        for name in line.lstrip("~").split():
            allowed = allowed - calls(name) if line.startswith("~") else allowed | calls(name)
    assert "setpriority" in allowed  # for threads in the background
    needed = "fork vfork clone clone3 execve setsid kill wait4 pipe2 dup2 fcntl chdir close_range"
    assert set(needed.split()) - allowed == set()


def widened(directory: Path, text: str) -> list[Path]:
    units = installed(directory)
    (directory / "policyd.service.d").mkdir()
    (directory / "policyd.service.d" / "hooks.conf").write_text(text)
    return units


def test_systemd_takes_what_widens_the_sandbox_for_a_hook(tmp_path: Path) -> None:
    text, count = re.subn(r"(?m)^#([A-Z]\w+=)", r"\1", WIDER.read_text())
    assert count == 7
    assert systemd_analyze("verify", "--man=no", *widened(tmp_path, text)) == ""


def test_systemd_would_say_if_it_did_not_take_it(tmp_path: Path) -> None:
    units = widened(tmp_path, "[Service]\nNoSuchKey=1\n")
    assert "NoSuchKey" in systemd_analyze("verify", "--man=no", *units)


def test_as_shipped_it_widens_nothing() -> None:
    lines = [line for line in WIDER.read_text().splitlines() if line and line[0] != "#"]
    assert lines == ["[Service]"]


def test_systemd_takes_the_units_of_a_hook_with_rights_of_its_own(tmp_path: Path) -> None:
    *_, first, second = WIDER.read_text().partition("\n[Service]")[0].split("\n#\n")
    paths = []
    for block in (first, second):
        name, *lines = [line.removeprefix("#").strip() for line in block.strip().splitlines()]
        paths.append(tmp_path / Path(name).name)
        text = "\n".join(lines).replace("/usr/local/sbin/lock-login", "/bin/true")
        paths[-1].write_text(text)
    assert [path.name for path in paths] == ["lock-login.socket", "lock-login@.service"]
    assert systemd_analyze("verify", "--man=no", *paths) == ""


def test_the_unit_names_the_file_that_widens_it() -> None:
    text = (UNITS / "policyd.service").read_text()
    assert str(WIDER.relative_to(UNITS)) in text


def test_content_comes_by_a_socket_of_its_own() -> None:
    milter = read("policyd-milter.socket")
    assert milter["Service"] == ["policyd.service"]
    # the name that serve takes it for a milter's by
    assert milter["FileDescriptorName"] == ["milter"]
    # what the snippet for main.cf names
    assert milter["ListenStream"] == ["/var/spool/postfix/policyd/milter"]
    snippet = (UNITS.parent / "etc/postfix/main.cf.snippet").read_text(encoding="utf-8")
    assert "#policyd_milters = { unix:policyd/milter," in snippet
