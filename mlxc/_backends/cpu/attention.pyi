"""Launchers of attention: registered at import; no Python names."""
