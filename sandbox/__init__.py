"""A local AWS in one process: enough of it to build, use and take down the walkthrough.

What it is: moto's own server application, reached only through the names moto exports, with layers of ours in
front of it that answer on the wire what moto fakes or lacks. Lambda functions really run, from the zip that was
uploaded, in child processes; event source mappings poll, batch and report failures; a REST API has a data plane.

What it is not: a security boundary (a handler runs as the user who started the sandbox), a place to keep data
(everything is in memory and gone when it stops), or proof that AWS would allow what it allows.
It listens on loopback only.

``import sandbox`` loads neither moto nor werkzeug; starting a :class:`Sandbox` does.
"""

from sandbox.lifecycle import Sandbox

__all__ = ["Sandbox"]
