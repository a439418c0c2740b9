"""The container runtime itself: sandboxes and containers made, started, stopped, removed.

Works on a `Store`, runs containers through the supervisor, tells listeners of every change (`events`). Everything that CRI
asks for by id is here; the gRPC face is service.py, streams are streaming/.
Not here: images (images.py), OCI specifications (bundle.py), pod networks (network.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

from mizzen.cni import netns
from mizzen.cni.names import cgroup_root, home_tag
from mizzen.runtime.cri import bundle, rootfs
from mizzen.runtime.cri.images import Images
from mizzen.runtime.cri.network import Network, NetworkError
from mizzen.runtime.cri.shimclient import Shim, ShimError
from mizzen.runtime.cri.store import Container, ContainerState, Sandbox, SandboxState, Store, write_whole
from mizzen.wire import cri

log = logging.getLogger("mizzen.cri")

KILL_WAIT_S = 10.0
NAMESPACES = {"net": netns.CLONE_NEWNET, "ipc": netns.CLONE_NEWIPC, "uts": netns.CLONE_NEWUTS}


class NotFound(Exception):
    """No sandbox or container of that id."""


class RuntimeFailed(Exception):
    """The kernel, runc or a plugin refused."""


class Runtime:
    """The runtime of one home. Call `start` before anything else, `close` at the end (containers go on)."""

    def __init__(self, home: Path, *, runc: str = "runc", bin_dirs: list[Path] | None = None) -> None:
        self.home = home.resolve()
        self.root = self.home / "cri"
        self.tag = home_tag(self.home)
        self.runc = [runc, "--root", str(self.root / "runc")]
        self.store = Store(self.root)
        self.images = Images(self.home)
        plugins = bin_dirs if bin_dirs is not None else [self.home / "cni" / "bin", Path("/opt/cni/bin")]
        self.network = Network(self.home / "cni" / "net.d", plugins)
        self.shim = Shim(self.root / "shim.sock", self.root / "shim.log")
        self._listeners: set[asyncio.Queue[tuple[str, int]]] = set()
        self._exits: dict[str, asyncio.Event] = {}
        self._masks = [*rootfs.masks(str(self.home), rootfs.needed_paths()), rootfs.pilot_agent(self.root)]

    # Life of the runtime

    async def start(self) -> None:
        """Load what is on disk and take back what still runs; what does not run any more counts as exited."""
        self.store.load()
        await self.shim.connect(self._exited)
        running = await self.shim.list()
        for container in list(self.store.containers.values()):
            if container.state.finished_at or not (
                container.state.started_at or (container.directory / "pid").exists()
            ):
                continue
            if container.id in running:
                pid, started = running[container.id]
                container.state.pid, container.state.started_at = pid, started
                container.pidfd = os.pidfd_open(pid)
                container.save()
            else:
                await self._lost(container)

    async def close(self) -> None:
        """Let go of everything; containers and supervisor stay."""
        await self.shim.close()

    async def _lost(self, container: Container) -> None:
        """A container that ended, or lost its supervisor, while no runtime was there."""
        path = container.directory / "exit.json"
        if path.exists():
            found = json.loads(path.read_bytes())
            await self._exited(container.id, found["exit_code"], found["finished_at"])
            return
        await self._runc("delete", "--force", container.id)
        container.state.reason, container.state.message = "Error", "the container's supervisor was gone"
        await self._exited(container.id, 255, time.time_ns())

    # Events

    def listen(self) -> asyncio.Queue[tuple[str, int]]:
        """A queue that gets (container or sandbox id, ContainerEventType) of every change; `ignore` it in the end."""
        queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._listeners.add(queue)
        return queue

    def ignore(self, queue: asyncio.Queue[tuple[str, int]]) -> None:
        """Stop a queue of `listen`."""
        self._listeners.discard(queue)

    def _tell(self, key: str, event: int) -> None:
        for queue in self._listeners:
            queue.put_nowait((key, event))

    # Sandboxes

    def sandbox(self, key: str) -> Sandbox:
        """By id. Raises NotFound."""
        found = self.store.find_sandbox(key)
        if found is None:
            raise NotFound(f"no sandbox {key!r}")
        return found

    def container(self, key: str) -> Container:
        """By id. Raises NotFound."""
        found = self.store.find_container(key)
        if found is None:
            raise NotFound(f"no container {key!r}")
        return found

    async def run_sandbox(self, config: Any) -> Sandbox:
        """Make a pod's namespaces and network. Raises RuntimeFailed."""
        options = config.linux.security_context.namespace_options
        state = SandboxState(
            id=secrets.token_hex(32),
            created_at=time.time_ns(),
            host_network=options.network == cri.NODE,
            host_ipc=options.ipc == cri.NODE,
        )
        sandbox = self.store.new_sandbox(config, state)
        try:
            self._make_namespaces(sandbox)
            self._make_files(sandbox)
            sandbox.save()
            if not state.host_network:
                result = await self.network.add(
                    state.id, str(sandbox.namespace("net")), _pod(config), _mappings(config)
                )
                state.network = result
                state.ips = [item["address"].partition("/")[0] for item in result.get("ips", ())]
            sandbox.save()
        except (OSError, NetworkError) as error:
            await self.remove_sandbox(sandbox)
            raise RuntimeFailed(f"sandbox of {config.metadata.namespace}/{config.metadata.name}: {error}") from error
        return sandbox

    def _make_namespaces(self, sandbox: Sandbox) -> None:
        """Pin new namespaces. No await: the thread leaves its own namespaces for a moment."""
        kinds = {
            "net": not sandbox.state.host_network,
            "ipc": not sandbox.state.host_ipc,
            "uts": not sandbox.state.host_network,
        }
        wanted = {kind: NAMESPACES[kind] for kind, new in kinds.items() if new}
        homes = {kind: os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in wanted}
        flags = 0
        for flag in wanted.values():
            flags |= flag
        try:
            netns.unshare(flags)
            try:
                if "uts" in wanted and sandbox.config.hostname:
                    socket.sethostname(sandbox.config.hostname)
                for kind in wanted:
                    path = sandbox.namespace(kind)
                    path.touch()
                    netns.mount(f"/proc/thread-self/ns/{kind}", str(path), flags=netns.MS_BIND)
                _set_sysctls(dict(sandbox.config.linux.sysctls), set(wanted))
            finally:
                for kind, flag in wanted.items():
                    netns.setns(homes[kind], flag)
        finally:
            for fd in homes.values():
                os.close(fd)

    def _make_files(self, sandbox: Sandbox) -> None:
        config, directory = sandbox.config, sandbox.directory
        (directory / "hostname").write_text((config.hostname or socket.gethostname()) + "\n")
        dns = config.dns_config
        if dns.ListFields():
            lines = [f"nameserver {server}" for server in dns.servers]
            lines += [f"search {' '.join(dns.searches)}"] if dns.searches else []
            lines += [f"options {' '.join(dns.options)}"] if dns.options else []
            text = "".join(f"{line}\n" for line in lines)
        else:
            text = Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else ""
        (directory / "resolv.conf").write_text(text)
        for name in ("hostname", "resolv.conf"):
            (directory / name).chmod(0o644)
        shm = directory / "shm"
        shm.mkdir()
        if not sandbox.state.host_ipc:
            flags = netns.MS_NOSUID | netns.MS_NODEV | netns.MS_NOEXEC
            netns.mount("shm", str(shm), "tmpfs", flags, "mode=1777,size=65536k")

    async def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Kill its containers, give its network back. Idempotent."""
        await asyncio.gather(*(self.stop_container(c, 0) for c in self.store.of_sandbox(sandbox.id)))
        if not sandbox.state.host_network and sandbox.namespace("net").exists():
            try:
                await self.network.delete(sandbox.id, str(sandbox.namespace("net")), _pod(sandbox.config))
            except NetworkError as error:
                raise RuntimeFailed(str(error)) from error
        for kind in NAMESPACES:
            if sandbox.namespace(kind).exists():
                await asyncio.to_thread(netns.unpin, sandbox.namespace(kind))
        netns.umount(str(sandbox.directory / "shm"))
        if sandbox.state.ready:
            sandbox.state.ready, sandbox.state.ips = False, []
            sandbox.save()
            self._tell(sandbox.id, cri.CONTAINER_STOPPED_EVENT)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Stop it, remove its containers and itself. Idempotent."""
        await self.stop_sandbox(sandbox)
        await asyncio.gather(*(self.remove_container(c) for c in self.store.of_sandbox(sandbox.id)))
        self.store.forget_sandbox(sandbox)
        remove_cgroup(sandbox.config.linux.cgroup_parent)
        self._tell(sandbox.id, cri.CONTAINER_DELETED_EVENT)

    # Containers

    async def create_container(self, sandbox: Sandbox, config: Any) -> Container:
        """Mount the root and write the bundle. Raises RuntimeFailed, NoImage, Refused."""
        if not sandbox.state.ready:
            raise RuntimeFailed(f"sandbox {sandbox.id} is not ready")
        image = self.images.find(config.image.image)
        if image is None or not image.host:
            image = await asyncio.to_thread(self.images.get, config.image.image)
        log_path = os.path.join(sandbox.config.log_directory, config.log_path) if config.log_path else ""
        state = ContainerState(
            id=secrets.token_hex(32),
            sandbox=sandbox.id,
            created_at=time.time_ns(),
            image_ref=image.id,
            log_path=log_path,
        )
        container = self.store.new_container(config, state)
        try:
            root = rootfs.mount_rootfs(image, container.directory)
            spec = bundle.spec(
                config, image, root,
                hostname=sandbox.config.hostname or socket.gethostname(),
                namespaces=self._namespaces(sandbox, config),
                cgroup=f"{sandbox.config.linux.cgroup_parent or cgroup_root(self.tag)}/{container.id}",
                extra_mounts=(self._masks if image.host else []) + self._sandbox_mounts(sandbox, config),
                sysctls={},
            )  # fmt: skip
            state.uid, state.gid = spec["process"]["user"]["uid"], spec["process"]["user"]["gid"]
            write_whole(container.directory / "config.json", json.dumps(spec).encode())
            container.save()
        except (OSError, bundle.Refused) as error:
            await self.remove_container(container)
            raise RuntimeFailed(f"container {config.metadata.name}: {error}") from error
        self._tell(container.id, cri.CONTAINER_CREATED_EVENT)
        return container

    def _namespaces(self, sandbox: Sandbox, config: Any) -> list[dict[str, str]]:
        found = [{"type": "mount"}]
        names = {"net": "network", "ipc": "ipc", "uts": "uts"}
        found += [{"type": names[k], "path": str(p)} for k in NAMESPACES if (p := sandbox.namespace(k)).exists()]
        options = config.linux.security_context.namespace_options
        if options.pid == cri.CONTAINER:
            found.append({"type": "pid"})
        elif options.pid == cri.TARGET:
            found.append({"type": "pid", "path": f"/proc/{self.container(options.target_id).state.pid}/ns/pid"})
        elif options.pid == cri.POD:
            # Without a pause process, the first container's namespace is the pod's for as long as it runs.
            first = next((c for c in self.store.of_sandbox(sandbox.id) if c.pidfd >= 0), None)
            found.append({"type": "pid", **({"path": f"/proc/{first.state.pid}/ns/pid"} if first else {})})
        return found

    def _sandbox_mounts(self, sandbox: Sandbox, config: Any) -> list[dict[str, Any]]:
        own = {item.container_path for item in config.mounts}
        shm = "/dev/shm" if sandbox.state.host_ipc else str(sandbox.directory / "shm")
        binds = [("/dev/shm", shm, "rw")]
        binds += [(f"/etc/{name}", str(sandbox.directory / name), "rw") for name in ("hostname", "resolv.conf")]
        return [
            {"destination": where, "type": "bind", "source": source, "options": ["rbind", access, "rprivate"]}
            for where, source, access in binds
            if where not in own
        ]

    async def start_container(self, container: Container) -> None:
        """Run it. Raises RuntimeFailed with runc's own words."""
        if container.state.started_at:
            raise RuntimeFailed(f"container {container.id} has been started already")
        self._exits[container.id] = asyncio.Event()
        config, directory = container.config, container.directory
        logs = ["--log", str(directory / "runc.log"), "--log-format", "json"]
        try:
            pid, started = await self.shim.run(
                container.id, dir=str(directory), runc=[*self.runc, *logs], log=container.state.log_path or None,
                tty=config.tty, stdin=config.stdin, stdin_once=config.stdin_once,
            )  # fmt: skip
        except ShimError as error:
            await self._runc("delete", "--force", container.id)
            reason = str(error)
            container.state.reason, container.state.message = "StartError", reason
            container.state.started_at = container.state.finished_at = time.time_ns()
            container.state.exit_code = 128
            container.save()
            raise RuntimeFailed(f"failed to start container: {reason}") from error
        container.state.pid, container.state.started_at = pid, started
        if not container.state.finished_at:
            with contextlib.suppress(ProcessLookupError):  # its exit is on the way
                container.pidfd = os.pidfd_open(pid)
        container.save()
        self._tell(container.id, cri.CONTAINER_STARTED_EVENT)

    async def _exited(self, key: str, code: int, finished_at: int) -> None:
        container = self.store.containers.get(key)
        if container is None or container.state.finished_at:
            return
        state = container.state
        state.finished_at, state.exit_code = finished_at, code
        state.started_at = state.started_at or finished_at
        if not state.reason:
            state.reason = "Completed" if code == 0 else "Error"
            if code == 137 and self._oom_killed(container):
                state.reason = "OOMKilled"
        if container.pidfd >= 0:
            os.close(container.pidfd)
            container.pidfd = -1
        container.save()
        self._exits.setdefault(key, asyncio.Event()).set()
        self._tell(key, cri.CONTAINER_STOPPED_EVENT)

    def _oom_killed(self, container: Container) -> bool:
        spec = json.loads((container.directory / "config.json").read_bytes())
        path = Path("/sys/fs/cgroup/memory" + spec["linux"]["cgroupsPath"], "memory.oom_control")
        unified = Path("/sys/fs/cgroup" + spec["linux"]["cgroupsPath"], "memory.events")
        for file, word in ((path, "oom_kill"), (unified, "oom_kill")):
            with contextlib.suppress(OSError):
                return any(line.split()[0] == word and int(line.split()[1]) for line in file.read_text().splitlines())
        return False

    async def stop_container(self, container: Container, grace_s: float) -> None:
        """SIGTERM (the image's stop signal is not asked), SIGKILL after grace_s. Idempotent."""
        event = self._exits.setdefault(container.id, asyncio.Event())
        if container.state.finished_at or not container.state.started_at:
            return
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_WAIT_S)):
            if wait_s <= 0:
                continue
            self._signal(container, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), wait_s)
                return
        raise RuntimeFailed(f"container {container.id} did not end by SIGKILL")

    def _signal(self, container: Container, number: int) -> None:
        if container.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(container.pidfd, number)

    async def remove_container(self, container: Container) -> None:
        """Kill it if it runs, and remove all that it has. Idempotent."""
        await self.stop_container(container, 0)
        if container.state.started_at:
            await self._runc("delete", "--force", container.id)
        rootfs.unmount_rootfs(container.directory)
        await asyncio.to_thread(shutil.rmtree, container.directory, True)
        self.store.forget_container(container)
        self._exits.pop(container.id, None)
        self._tell(container.id, cri.CONTAINER_DELETED_EVENT)

    async def reopen_log(self, container: Container) -> None:
        """After a rotation. Raises RuntimeFailed."""
        try:
            await self.shim.reopen(container.id, container.state.log_path)
        except ShimError as error:
            raise RuntimeFailed(str(error)) from error

    async def _runc(self, *arguments: str) -> bytes:
        """Run runc; what it printed. Failures are logged, not raised: it is called to clean up."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self.runc, *arguments, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        if process.returncode and b"does not exist" not in err:
            log.warning("runc %s: %s", " ".join(arguments), err.decode(errors="replace").strip())
        return out


def _pod(config: Any) -> dict[str, str]:
    meta = config.metadata
    return {"K8S_POD_NAMESPACE": meta.namespace, "K8S_POD_NAME": meta.name, "K8S_POD_UID": meta.uid}


def _mappings(config: Any) -> list[dict[str, Any]]:
    names = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}
    return [
        {"hostPort": m.host_port, "containerPort": m.container_port, "protocol": names[m.protocol], "hostIP": m.host_ip}
        for m in config.port_mappings
        if m.host_port
    ]


def _set_sysctls(wanted: dict[str, str], own: set[str]) -> None:
    """Namespaced sysctls of the pod, written from inside its namespaces; own: those that are not the host's."""
    for name, value in wanted.items():
        of_ipc = name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."))
        if ".." in name or "/" in name or not (of_ipc or name.startswith("net.")):
            raise OSError(22, f"sysctl {name} does not belong to a pod's namespaces")
        if ("ipc" if of_ipc else "net") not in own:
            raise OSError(22, f"sysctl {name} is the host's for a pod in the host's namespace")
        Path("/proc/sys", *name.split(".")).write_text(value)


def remove_cgroup(path: str) -> None:
    """Remove a cgroup's directories, with all below, from every hierarchy; busy ones stay."""
    if not path:
        return
    for base in (*Path("/sys/fs/cgroup").glob("*" + path), Path("/sys/fs/cgroup" + path)):
        if base.is_dir():
            for folder, _, _ in os.walk(base, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
