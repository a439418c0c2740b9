"""`mizzen proxy`: Envoy's command line, and the life of the process.

Exit codes as Envoy's: 0 after a clean stop or a valid configuration, 1 for everything that is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from mizzen.proxy.config import supported
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.hot_restart import child, link
from mizzen.proxy.log_format import DEFAULT, Lines, pattern, use
from mizzen.proxy.net import local
from mizzen.proxy.server import Options, Server
from mizzen.proxy.workers.main import Pool
from mizzen.proxy.workers.nursery import Nursery

VERSION = "mizzen-proxy/0.1.0/Clean/RELEASE/OpenSSL"
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "off": 60}


PR_SET_DUMPABLE = 4  # linux/prctl.h
log = logging.getLogger("envoy.main")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"PARSE ERROR: {message}", file=sys.stderr)
        raise SystemExit(1)


def parser() -> Parser:
    """Envoy's flags that matter; others are refused by name."""
    out = Parser(prog="mizzen proxy", allow_abbrev=False, description="The data plane: serves an Envoy bootstrap.")
    out.add_argument("-c", "--config-path", default="", help="path to a bootstrap (YAML or JSON)")
    out.add_argument("--config-yaml", default="", help="a bootstrap as text, merged over the file's")
    out.add_argument("--service-node", default="")
    out.add_argument("--service-cluster", default="")
    out.add_argument("--service-zone", default="")
    out.add_argument("--concurrency", type=int, default=1, help="processes that serve connections")
    out.add_argument("--mode", choices=("serve", "validate"), default="serve")
    out.add_argument("--drain-time-s", type=float, default=600)
    out.add_argument("--drain-strategy", choices=("gradual", "immediate"), default="gradual")
    out.add_argument("--parent-shutdown-time-s", type=float, default=900)
    out.add_argument("-l", "--log-level", choices=tuple(LEVELS), default="info")
    out.add_argument("--component-log-level", default="")
    out.add_argument("--log-format", default="", help="the lines of the log, in spdlog's patterns")
    out.add_argument("--log-format-escaped", action="store_true", help="escape what would break a line of the log")
    out.add_argument("--log-path", default="")
    out.add_argument("--admin-address-path", default="")
    out.add_argument(
        "--file-flush-interval-msec", type=int, default=100, help="how long a line of an access log may wait"
    )
    out.add_argument(
        "--file-flush-min-size-kb", type=int, default=64, help="how much of an access log is written at once"
    )
    restart_flags(out)
    out.add_argument(
        "--ignore-unknown-dynamic-fields", action="store_true", help="take resources with fields newer than this proxy"
    )
    out.add_argument("--reject-unknown-dynamic-fields", action="store_true", help="the default")
    out.add_argument(
        "--allow-unknown-static-fields", action="store_true", help="take a bootstrap with fields newer than this proxy"
    )
    out.add_argument(
        "--python-filters", action="append", default=[], metavar="DIR", help="where Python filters may come from; may be given again",
    )  # fmt: skip
    out.add_argument("--local-address-ip-version", choices=("v4", "v6"), default="v4")
    out.add_argument(
        "--skip-deprecated-logs", action="store_true", help="as it is: nothing is logged of deprecated fields"
    )
    out.add_argument(
        "--enable-core-dump", action="store_true", help="the process may be dumped although it changed its user"
    )
    out.add_argument("--version", action="version", version=f"mizzen proxy  version: {VERSION}")
    return out


def restart_flags(out: Parser) -> None:
    group = out.add_argument_group("hot restart", "Any of the first four makes this process take part in hot restarts.")
    group.add_argument("--base-id", type=int, help="tells the proxies of one host apart")
    group.add_argument("--use-dynamic-base-id", action="store_true", help="a base id that no other proxy has")
    group.add_argument("--restart-epoch", type=int, help="0, and one more at every restart")
    group.add_argument("--socket-path", help=f"where epochs talk; @ in front: abstract (default {link.DEFAULT_PATH})")
    group.add_argument("--socket-mode", default="600", help="permissions of --socket-path, octal")
    group.add_argument("--base-id-path", default="", help="a file to write the base id to")
    group.add_argument(
        "--skip-hot-restart-on-no-parent",
        action="store_true",
        help="start although no process of the epoch before answers",
    )
    group.add_argument(
        "--skip-hot-restart-parent-stats", action="store_true", help="do not go on counting from the parent's"
    )
    group.add_argument("--disable-hot-restart", action="store_true", help="the default")
    group.add_argument("--hot-restart-version", action="version", version=link.VERSION)


def hot_restart(args: argparse.Namespace) -> link.Flags | None:
    """What the flags say of hot restarts; None where they ask for none. Raises ConfigError."""
    if args.disable_hot_restart:
        return None
    asked = (args.base_id, args.restart_epoch, args.socket_path)
    if not args.use_dynamic_base_id and all(each is None for each in asked):
        return None
    epoch = args.restart_epoch or 0
    if args.use_dynamic_base_id and epoch:
        raise ConfigError(f"error: cannot use --restart-epoch={epoch} with --use-dynamic-base-id")
    try:
        mode = int(args.socket_mode, 8)
    except ValueError:
        raise ConfigError(f"error: invalid socket-mode '{args.socket_mode}'") from None
    flags = link.Flags(
        args.base_id or 0, epoch, args.socket_path or link.DEFAULT_PATH, mode,
        args.skip_hot_restart_on_no_parent, args.skip_hot_restart_parent_stats,
    )  # fmt: skip
    return replace(flags, base_id=child.free_base_id(flags)) if args.use_dynamic_base_id else flags


def setup_logging(level: str, components: str, path: str = "", line_format: str = "", escaped: bool = False) -> None:
    """The process's log. Raises ConfigError for a level or format that there is not."""
    logging.addLevelName(5, "trace")
    handler: logging.Handler = logging.FileHandler(path) if path else logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(pattern(line_format or DEFAULT, "--log-format"), escaped))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    for part in filter(None, components.split(",")):
        name, _, own = part.partition(":")
        if own not in LEVELS:
            raise ConfigError(f"error: invalid log level specified '{own}'")
        logging.getLogger(f"envoy.{name}").setLevel(LEVELS[own])


def load_bootstrap(args: argparse.Namespace) -> Any:
    """The Bootstrap that the flags name. Raises ConfigError."""
    from envoy.config.bootstrap.v3 import bootstrap_pb2

    from mizzen.proxy.config.load import fill, parse_document, read_text

    if not args.config_path and not args.config_yaml:
        raise ConfigError(
            "At least one of --config-path or --config-yaml or Options::configProto() should be non-empty"
        )
    bootstrap, lenient = bootstrap_pb2.Bootstrap(), args.allow_unknown_static_fields
    if args.config_path:
        value = parse_document(read_text(args.config_path), args.config_path)
        fill(bootstrap, value, args.config_path, lenient)
    if args.config_yaml:
        overlay = bootstrap_pb2.Bootstrap()
        fill(overlay, parse_document(args.config_yaml, "--config-yaml"), "--config-yaml", lenient)
        bootstrap.MergeFrom(overlay)
    if args.service_node:
        bootstrap.node.id = args.service_node
    if args.service_cluster:
        bootstrap.node.cluster = args.service_cluster
    if args.service_zone:
        bootstrap.node.locality.zone = args.service_zone
    if args.log_format and bootstrap.application_log_config.HasField("log_format"):
        raise ConfigError("Only one of ApplicationLogConfig.log_format or CLI option --log-format can be specified.")
    return bootstrap


def options_of(args: argparse.Namespace, given: list[str]) -> Options:
    restart = hot_restart(args)
    if args.base_id_path:
        try:
            Path(args.base_id_path).write_text(str(0 if restart is None else restart.base_id))
        except OSError as error:
            raise ConfigError(f"--base-id-path: {error}") from error
    return Options(
        config_path=args.config_path,
        config_yaml=args.config_yaml,
        node_id=args.service_node,
        cluster=args.service_cluster,
        zone=args.service_zone,
        concurrency=max(1, args.concurrency),
        mode=args.mode,
        drain_time_s=args.drain_time_s,
        drain_strategy=args.drain_strategy,
        parent_shutdown_time_s=args.parent_shutdown_time_s,
        log_level=args.log_level,
        component_log_level=args.component_log_level,
        admin_address_path=args.admin_address_path,
        base_id=0 if restart is None else restart.base_id,
        hot_restart=restart,
        file_flush_s=args.file_flush_interval_msec / 1000,
        file_flush_bytes=args.file_flush_min_size_kb * 1024,
        ip_version=args.local_address_ip_version,
        log_escaped=args.log_format_escaped,
        python_filters=tuple(args.python_filters),
    )


def apply_flags(args: argparse.Namespace) -> None:
    """What flags ask of the process as a whole."""
    supported.ignore_unknown(args.ignore_unknown_dynamic_fields)
    local.use_version(args.local_address_ip_version)
    if args.enable_core_dump:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


async def serve(bootstrap: Any, options: Options, nursery: Nursery | None = None) -> int:
    loop = asyncio.get_running_loop()
    server = Server(bootstrap, options, loop)
    if nursery is not None:
        server.pool = Pool(server, nursery, options.concurrency - 1)
    if server.log_lines is not None:
        use(server.log_lines)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, reopen, server)
    return await live(server)


def reopen(server: Server) -> None:
    server.logs.reopen()
    if server.pool is not None:
        server.pool.tell(("reopen",))


async def live(server: Server) -> int:
    """A server from its start to its end."""
    loop = server.loop
    starting = loop.create_task(server.start(), name="start")
    stopping = loop.create_task(server.stopping.wait(), name="stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        await server.run()
    else:
        starting.cancel()
        await server.shutdown()
    return 0


async def work(bootstrap: Any, options: Options, number: int, sock: socket.socket) -> int:
    """The life of a worker beside the main process; sock: its end of the pair between them."""
    server = Server(bootstrap, options, asyncio.get_running_loop())
    if server.log_lines is not None:
        use(server.log_lines)
    server.worker_id = number
    from mizzen.proxy.workers.member import Member

    server.member = Member(server, number, sock)
    return await live(server)


async def validate(bootstrap: Any, options: Options) -> int:
    """Compile everything, bind nothing."""
    from mizzen.proxy.listener.listener import ListenerConfig

    server = Server(bootstrap, options, asyncio.get_running_loop())
    server.validate_static()
    for proto in bootstrap.static_resources.listeners:
        ListenerConfig(proto, server)
    return 0


def run(argv: list[str]) -> int:
    """The exit code of `mizzen proxy` with these arguments."""
    args = parser().parse_args(argv)
    try:
        setup_logging(args.log_level, args.component_log_level, args.log_path, args.log_format, args.log_format_escaped)
        apply_flags(args)
        bootstrap = load_bootstrap(args)
        options = options_of(args, argv)
        if options.hot_restart is not None and options.concurrency > 1:
            raise ConfigError("hot restart with --concurrency > 1 is not supported (--disable-hot-restart)")
        if args.mode == "validate":
            asyncio.run(validate(bootstrap, options))
            print(f"configuration '{args.config_path}' OK")
            return 0
        import uvloop

        if options.concurrency == 1:
            return uvloop.run(serve(bootstrap, options))
        nursery = Nursery(lambda number, sock: uvloop.run(work(bootstrap, options, number, sock)))
        return uvloop.run(serve(bootstrap, options, nursery))
    except ConfigError as error:
        where = f"'{args.config_path}'" if args.config_path else "--config-yaml"
        print(f"error initializing configuration {where}: {error}", file=sys.stderr)
        return 1


def main(argv: list[str] | None = None) -> NoReturn:
    raise SystemExit(run(sys.argv[1:] if argv is None else argv))
