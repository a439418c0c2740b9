"""Says which proxy a request came through and how long the answer took.

config: {header: x-served-by, value: edge}
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mizzen.http_filter import HttpFilter, Request, Response


class Stamp(HttpFilter):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.header = config.get("header", "x-served-by")
        self.value = config.get("value", "mizzen")
        if not isinstance(self.header, str) or not isinstance(self.value, str):
            raise ValueError("header and value are texts")

    def on_request(self, request: Request) -> None:
        request.headers[self.header] = request.settings.get("value", self.value)
        request.state["begun"] = time.monotonic()

    def on_response(self, request: Request, response: Response) -> None:
        response.headers[self.header] = request.settings.get("value", self.value)
        if "begun" in request.state:
            response.headers["x-took-ms"] = f"{(time.monotonic() - request.state['begun']) * 1000:.1f}"
