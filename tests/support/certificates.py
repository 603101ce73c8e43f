"""Certificates for one test, as distributed makes them for one run."""

from __future__ import annotations

from pathlib import Path

from distributed.security import Security


def write_certificates(folder: Path) -> dict[str, str]:
    """Write a fresh authority, certificate and key; return their paths by the names of `ClusterSpec`."""
    made = Security.temporary()
    texts = {"tls_ca": made.tls_ca_file, "tls_cert": made.tls_client_cert, "tls_key": made.tls_client_key}
    for name, text in texts.items():
        (folder / f"{name}.pem").write_text(text)
    return {name: str(folder / f"{name}.pem") for name in texts}
