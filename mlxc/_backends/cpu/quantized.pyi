"""Launchers of quantized: registered at import; no Python names."""
