"""WebSocket broadcasting that can be redeployed at noon."""

__version__ = "0.1.0"
