"""chemsieve: influence and selection of training molecules for chemical language models."""

__version__ = "0.2.0.dev0"
