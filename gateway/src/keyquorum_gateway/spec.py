"""``python -m keyquorum_gateway.spec > docs/openapi.json``: the OpenAPI document as it is checked in and compared."""

import json
import sys

from keyquorum_gateway.app import ROUTES
from keyquorum_gateway.openapi import openapi_document
from keyquorum_gateway.routes.docs import docs_endpoints


def specification() -> str:
    """The document, indented, keys in the order in which they are made."""
    return json.dumps(openapi_document([*ROUTES, *docs_endpoints(ROUTES)]), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(specification())
