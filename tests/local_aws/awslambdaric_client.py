"""AWS's own runtime client in the place of the sandbox's, for the cross-check in test_functions.py."""

import http.client
import os
import sys

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

place, slash, token = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
request = http.client.HTTPConnection.request


def with_token(connection: http.client.HTTPConnection, method: str, path: str, *more: object, **named: object) -> None:
    """The native part writes the variable in front of each path; what is in Python takes it for a host and a port."""
    own = f"{connection.host}:{connection.port}" == place
    request(connection, method, f"{slash}{token}{path}" if own else path, *more, **named)  # type: ignore[arg-type]


http.client.HTTPConnection.request = with_token  # type: ignore[method-assign,assignment]
bootstrap.run(os.environ["_HANDLER"], LambdaRuntimeClient(place))
