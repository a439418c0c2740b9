"""`mizzen proxy`: Envoy's command line, and the life of the process.

Exit codes as Envoy's: 0 after a clean stop or a valid configuration, 1 for everything that is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from typing import Any, NoReturn

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.server import Options, Server

VERSION = "mizzen-proxy/0.1.0/Clean/RELEASE/OpenSSL"
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "off": 60}


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
    out.add_argument("--concurrency", type=int, default=1, help="one worker is what there is; more are taken as one")
    out.add_argument("--mode", choices=("serve", "validate"), default="serve")
    out.add_argument("--drain-time-s", type=float, default=600)
    out.add_argument("--drain-strategy", choices=("gradual", "immediate"), default="gradual")
    out.add_argument("--parent-shutdown-time-s", type=float, default=900)
    out.add_argument("-l", "--log-level", choices=tuple(LEVELS), default="info")
    out.add_argument("--component-log-level", default="")
    out.add_argument("--log-format", default="")
    out.add_argument("--log-format-escaped", action="store_true")
    out.add_argument("--log-path", default="")
    out.add_argument("--admin-address-path", default="")
    out.add_argument("--file-flush-interval-msec", type=int, default=100)
    out.add_argument("--base-id", type=int, default=0)
    out.add_argument("--use-dynamic-base-id", action="store_true")
    out.add_argument("--base-id-path", default="")
    out.add_argument("--restart-epoch", type=int, default=0)
    out.add_argument("--disable-hot-restart", action="store_true")
    out.add_argument("--ignore-unknown-dynamic-fields", action="store_true")
    out.add_argument("--reject-unknown-dynamic-fields", action="store_true")
    out.add_argument("--allow-unknown-static-fields", action="store_true")
    out.add_argument("--local-address-ip-version", choices=("v4", "v6"), default="v4")
    out.add_argument("--cpuset-threads", action="store_true")
    out.add_argument("--enable-fine-grain-logging", action="store_true")
    out.add_argument("--skip-hot-restart-on-no-parent", action="store_true")
    out.add_argument("--skip-hot-restart-parent-stats", action="store_true")
    out.add_argument("--version", action="version", version=f"mizzen proxy  version: {VERSION}")
    return out


def setup_logging(level: str, components: str, path: str = "") -> None:
    logging.addLevelName(5, "trace")
    handler: logging.Handler = logging.FileHandler(path) if path else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s][%(name)s] %(message)s"))
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
    bootstrap = bootstrap_pb2.Bootstrap()
    if args.config_path:
        value = parse_document(read_text(args.config_path), args.config_path)
        fill(bootstrap, value, args.config_path)
    if args.config_yaml:
        overlay = bootstrap_pb2.Bootstrap()
        fill(overlay, parse_document(args.config_yaml, "--config-yaml"), "--config-yaml")
        bootstrap.MergeFrom(overlay)
    if args.service_node:
        bootstrap.node.id = args.service_node
    if args.service_cluster:
        bootstrap.node.cluster = args.service_cluster
    if args.service_zone:
        bootstrap.node.locality.zone = args.service_zone
    return bootstrap


def options_of(args: argparse.Namespace, given: list[str]) -> Options:
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
        base_id=args.base_id,
    )


async def serve(bootstrap: Any, options: Options) -> int:
    loop = asyncio.get_running_loop()
    server = Server(bootstrap, options, loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, server.logs.reopen)
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
        setup_logging(args.log_level, args.component_log_level, args.log_path)
        bootstrap = load_bootstrap(args)
        options = options_of(args, argv)
        if args.mode == "validate":
            asyncio.run(validate(bootstrap, options))
            print(f"configuration '{args.config_path}' OK")
            return 0
        import uvloop

        return uvloop.run(serve(bootstrap, options))
    except ConfigError as error:
        where = f"'{args.config_path}'" if args.config_path else "--config-yaml"
        print(f"error initializing configuration {where}: {error}", file=sys.stderr)
        return 1


def main(argv: list[str] | None = None) -> NoReturn:
    raise SystemExit(run(sys.argv[1:] if argv is None else argv))
