"""An import path of Keepsake 0.4.2, for scripts that use it."""

from keepsake.repository.keys import VERSION as REPOSITORY_VERSION

WEB_URL = "https://keepsake.ai"
DOCS_URL = f"{WEB_URL}/docs"
PYTHON_REFERENCE_DOCS_URL = f"{DOCS_URL}/reference/python"
YAML_REFERENCE_DOCS_URL = f"{DOCS_URL}/reference/yaml"

__all__ = ["DOCS_URL", "PYTHON_REFERENCE_DOCS_URL", "REPOSITORY_VERSION", "WEB_URL", "YAML_REFERENCE_DOCS_URL"]
