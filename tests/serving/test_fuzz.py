"""Requests generated from the OpenAPI document, and broken ones: the server never fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = 10
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


def test_whatever_the_document_allows_or_forbids_is_answered(server, tmp_path, request):
    before = _failures(server)
    examples = max(EXAMPLES, request.config.getoption("--soak-seconds"))
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run"),
        f"http://127.0.0.1:{server.port}/openapi.json",
        *("--checks", CHECKS, "--mode", "all", "--max-examples", str(examples)),
        *("--phases", "examples,coverage,fuzzing", "--seed", "7", "--no-color"),
        *("--generation-database", "none"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert _failures(server) == before
    assert "Traceback" not in server.log.read_text()


def _failures(server) -> float:
    text = server.client().get("/metrics").body.decode()
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("slh_serve_requests_total") and 'status="5' in line
    )
