"""A local AWS in one process: enough of AWS to build, use and tear down the walkthrough.

It is moto's server application, with layers of ours in front that answer what moto fakes or lacks. Lambda functions
really run, from the uploaded zip, in child processes. Event source mappings poll, batch and report failures. A REST
API can be called.

It is not a security boundary: a handler runs as the user who started the sandbox. It is not a place to keep data:
without a state folder everything is gone when it stops. It does not prove that AWS would allow what it allows.
It listens on loopback only.

``import sandbox`` loads neither moto nor werkzeug; starting a :class:`Sandbox` does.
"""

from sandbox.lifecycle import Sandbox

__all__ = ["Sandbox"]
