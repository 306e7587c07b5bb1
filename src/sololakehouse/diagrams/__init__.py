"""Boxes and arrows: laid out in layers, written as Mermaid or for Excalidraw."""

from sololakehouse.diagrams.diagram import Arrow, Box, Diagram

__all__ = ["Arrow", "Box", "Diagram"]
