"""The documentation site: `make docs` builds it, `make docs-serve` shows it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sololakehouse import __version__

project = "SoloLakehouse"
author = copyright = "The SoloLakehouse maintainers"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "diagrams",
    "folders",
    "generated",
    "settings",
]
exclude_patterns = ["_build", "README.md"]
# A quote over several lines is too much for the lexer of shells; the tests execute these blocks.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# Types in signatures: those of others would need their sites, ours are not all public.
nitpick_ignore_regex = [(r"py:class", r".*")]

html_theme = "furo"
html_title = "SoloLakehouse"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "font-stack": "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, SFMono-Regular, 'DejaVu Sans Mono', monospace",
        "color-brand-primary": "#0b5a70",
        "color-brand-content": "#0b5a70",
        "color-brand-visited": "#5b3a75",
        "color-sidebar-link-text": "var(--color-foreground-primary)",
        "color-api-name": "#8f2d1f",
        "color-api-pre-name": "#8f2d1f",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fcbe3",
        "color-brand-content": "#6fcbe3",
        "color-brand-visited": "#c7a6e4",
        "color-sidebar-link-text": "var(--color-foreground-primary)",
        "color-api-name": "#f0a08f",
        "color-api-pre-name": "#f0a08f",
    },
}

# Prompts and outputs are not copied.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
copybutton_exclude = ".linenos, .go"
