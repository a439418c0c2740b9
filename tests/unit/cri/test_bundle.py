"""From CRI's security context and container configuration to runc's: tables of what comes out, refusals by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mizzen.runtime.cri import bundle
from mizzen.runtime.cri.bundle import ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Refused
from mizzen.runtime.cri.images import Image
from mizzen.wire import cri

IMAGE = Image(id="i", tags=(), entrypoint=("/entry",), cmd=("serve",), env=("A=image", "B=image"), workdir="/srv")
Context = cri.LinuxContainerSecurityContext


def image_user(name: str) -> Image:
    return Image(id="i", tags=(), user=name)


def number(value: int) -> Any:
    return cri.Int64Value(value=value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n# no\n")
    (tmp_path / "etc/group").write_text("root:x:0:\napps:x:1001:\nlogs:x:44:app,other\n")
    return tmp_path


@pytest.mark.parametrize(
    ("security", "image", "expected"),
    [
        (Context(), IMAGE, (0, 0, [0])),
        (Context(run_as_user=number(1000)), IMAGE, (1000, 1001, [44, 1001])),
        (Context(run_as_user=number(7)), IMAGE, (7, 0, [0])),
        (Context(run_as_user=number(7), run_as_group=number(8)), IMAGE, (7, 8, [8])),
        (Context(run_as_user=number(0)), image_user("app"), (0, 0, [0])),
        (Context(run_as_username="app"), IMAGE, (1000, 1001, [44, 1001])),
        (Context(), image_user("app"), (1000, 1001, [44, 1001])),
        (Context(), image_user("1000"), (1000, 1001, [44, 1001])),
        (Context(), image_user("7:8"), (7, 8, [8])),
        (Context(), image_user("app:logs"), (1000, 44, [44])),
        (Context(supplemental_groups=[5, 6]), IMAGE, (0, 0, [0, 5, 6])),
        (Context(run_as_user=number(1000), supplemental_groups_policy=cri.Strict, supplemental_groups=[5]), IMAGE,
         (1000, 1001, [5, 1001])),
    ],
)  # fmt: skip
def test_user(root: Path, security: Any, image: Image, expected: tuple[int, int, list[int]]) -> None:
    found = bundle.user(security, image, root)
    assert (found["uid"], found["gid"], found["additionalGids"]) == expected


@pytest.mark.parametrize(("name", "text"), [("nobody-here", "no user 'nobody-here'"), ("app:none", "no group 'none'")])
def test_an_unknown_user_or_group_is_refused(root: Path, name: str, text: str) -> None:
    with pytest.raises(Refused, match=text):
        bundle.user(Context(), image_user(name), root)


def caps(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), **fields: Any) -> Any:
    return Context(capabilities=cri.Capability(add_capabilities=add, drop_capabilities=drop), **fields)


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        (caps(), set(DEFAULT_CAPABILITIES)),
        (caps(("NET_ADMIN",)), {*DEFAULT_CAPABILITIES, "NET_ADMIN"}),
        (caps(("CAP_net_admin",)), {*DEFAULT_CAPABILITIES, "NET_ADMIN"}),
        (caps(drop=("KILL",)), set(DEFAULT_CAPABILITIES) - {"KILL"}),
        (caps(drop=("ALL",)), set()),
        (caps(("NET_BIND_SERVICE",), ("ALL",)), {"NET_BIND_SERVICE"}),
        (caps(("ALL",), ("KILL",)), set(ALL_CAPABILITIES) - {"KILL"}),
        (caps(privileged=True), set(ALL_CAPABILITIES)),
    ],
)
def test_capabilities(security: Any, expected: set[str]) -> None:
    found = bundle.capabilities(security)
    assert {name.removeprefix("CAP_") for name in found["bounding"]} == expected
    assert found["bounding"] == found["effective"] == found["permitted"]


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(Refused, match=r"capabilities\.add: unknown FLY"):
        bundle.capabilities(caps(("FLY",)))


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ["/entry", "serve"]),
        ((), ("x",), ["/entry", "x"]),
        (("sh",), (), ["sh"]),
        (("sh",), ("-c", "true"), ["sh", "-c", "true"]),
    ],
)
def test_arguments(command: tuple[str, ...], args: tuple[str, ...], expected: list[str]) -> None:
    assert bundle.arguments(cri.ContainerConfig(command=command, args=args), IMAGE) == expected


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(Refused, match="no command specified"):
        bundle.arguments(cri.ContainerConfig(), Image(id="i", tags=()))


def test_the_later_variable_wins() -> None:
    config = cri.ContainerConfig(envs=[cri.KeyValue(key="B", value="own"), cri.KeyValue(key="HOSTNAME", value="me")])
    found = dict(item.split("=", 1) for item in bundle.environment(config, IMAGE, "box", tty=True))
    assert (found["A"], found["B"], found["HOSTNAME"], found["TERM"]) == ("image", "own", "me", "xterm")
    assert "TERM" not in " ".join(bundle.environment(config, IMAGE, "box", tty=False))


def configured(**fields: Any) -> Any:
    return cri.ContainerConfig(linux=cri.LinuxContainerConfig(security_context=Context(**fields)))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (configured(selinux_options=cri.SELinuxOption(level="s0")), "seLinuxOptions"),
        (configured(seccomp=cri.SecurityProfile(profile_type=cri.Localhost)), "seccompProfile Localhost"),
        (configured(apparmor=cri.SecurityProfile(profile_type=cri.Localhost)), "appArmorProfile Localhost"),
        (cri.ContainerConfig(mounts=[cri.Mount(container_path="/x", host_path="/no/such")]), "/no/such does not exist"),
    ],
)
def test_what_is_not_built_is_refused_by_name(root: Path, config: Any, text: str) -> None:
    with pytest.raises(Refused, match=text):
        make(config, root)


def make(config: Any, root: Path) -> dict[str, Any]:
    return bundle.spec(
        config, IMAGE, root, hostname="box", namespaces=[{"type": "network", "path": "/run/netns/x"}],
        cgroup="/c", extra_mounts=[], sysctls={},
    )  # fmt: skip


def test_an_ordinary_container(root: Path) -> None:
    found = make(configured(no_new_privs=True, readonly_rootfs=True), root)
    assert found["process"]["noNewPrivileges"]
    assert found["root"] == {"path": str(root), "readonly": True}
    assert found["process"]["cwd"] == "/srv"
    assert "/proc/kcore" in found["linux"]["maskedPaths"]
    assert "/proc/sys" in found["linux"]["readonlyPaths"]
    assert found["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "seccomp" not in found["linux"]


def test_a_privileged_one_masks_nothing(root: Path) -> None:
    linux = make(configured(privileged=True), root)["linux"]
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & set(linux)
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize(("added", "denied"), [((), True), (("SYS_ADMIN",), False)])
def test_the_runtimes_seccomp_profile_denies_what_no_capability_allows(
    root: Path, added: tuple[str, ...], denied: bool
) -> None:
    profile = cri.SecurityProfile(profile_type=cri.RuntimeDefault)
    config = configured(seccomp=profile, capabilities=cri.Capability(add_capabilities=added))
    (rule,) = make(config, root)["linux"]["seccomp"]["syscalls"]
    assert rule["action"] == "SCMP_ACT_ERRNO"
    assert ("mount" in rule["names"]) == denied
    assert "kexec_load" in rule["names"]


def test_outer_mounts_come_before_inner(tmp_path: Path) -> None:
    mounts = [
        cri.Mount(container_path="/a/b/c", host_path=str(tmp_path), readonly=True),
        cri.Mount(container_path="/a", host_path=str(tmp_path), propagation=1),
    ]
    found = bundle.volume_mounts(cri.ContainerConfig(mounts=mounts))
    assert [(item["destination"], item["options"]) for item in found] == [
        ("/a", ["rbind", "rw", "rslave"]),
        ("/a/b/c", ["rbind", "ro", "rprivate"]),
    ]


def test_zero_is_no_limit() -> None:
    linux = cri.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=1 << 20)
    assert bundle.resources(linux, []) == {"devices": [], "cpu": {"shares": 512}, "memory": {"limit": 1 << 20}}
    assert bundle.resources(cri.LinuxContainerResources(), []) == {"devices": []}
