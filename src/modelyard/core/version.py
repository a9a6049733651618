"""The version of Modelyard."""

VERSION = "0.1.0"
