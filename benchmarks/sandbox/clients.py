"""A client of the deployed API; a module of its own, so that other processes can run it."""

from __future__ import annotations

import http.client
import json
import time
from urllib.parse import urlsplit


def post(url: str, number: int, connection: http.client.HTTPConnection | None = None) -> float:
    """Milliseconds of one POST that writes an item through API, function and table."""
    parts = urlsplit(url)
    kept = connection or http.client.HTTPConnection(parts.netloc, timeout=30)
    item = {"operation": "create", "tableName": "name", "payload": {"Item": {"id": str(number), "name": str(number)}}}
    began = time.perf_counter()
    kept.request("POST", parts.path, json.dumps(item), {"Content-Type": "application/json"})
    answered = kept.getresponse()
    body = answered.read()
    took = (time.perf_counter() - began) * 1000
    if answered.status != 200 or b"errorMessage" in body:
        raise SystemExit(f"POST was answered {answered.status}: {body[:300]!r}")
    if connection is None:
        kept.close()
    return took


def posts(url: str, first: int, number: int) -> list[float]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    return [post(url, first + one, connection) for one in range(number)]
