"""Who may call a deployed API, and how often: its resource policy, the signature, the API key, and the throttles."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request

from sandbox.apigateway.execution import Definition, GatewayResponse, Resource, Stage
from sandbox.iam.permissions import Need, Permissions, Principal
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Words
from sandbox.protocol.scope import ACCOUNT, as_list, credential_scope, statements

EXPLICIT = " with an explicit deny"


def missing_token() -> GatewayResponse:
    return GatewayResponse(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def forbidden() -> GatewayResponse:
    return GatewayResponse(403, "ForbiddenException", "Forbidden")


class Access:
    """Lets a request to a deployed API pass, or refuses it in API Gateway's words."""

    def __init__(
        self,
        permissions: Permissions,
        identify: Callable[[str], Principal | None],
        misses_key: Callable[[Operation], Words | None],
        plan_of: Callable[[Stage, str], tuple[Definition, str] | None],
    ) -> None:
        """`identify` tells by an access key who is held to policies; None: the administrator.

        `misses_key` refuses what was not signed with the caller's secret access key. `plan_of` finds the usage plan by
        which the value of an API key is let into a stage, and the key's id.
        """
        self._permissions = permissions
        self._identify = identify
        self._misses_key = misses_key
        self._plan_of = plan_of
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}
        self._lock = threading.Lock()

    def check(self, stage: Stage, resource: Resource, verb: str, path: str, request: Request) -> None:
        """Raise GatewayResponse for a request that may not come in, or comes too fast; NotSimulated."""
        method = resource.methods.get(verb) or resource.methods["ANY"]
        self._authorize(stage, method, verb, path, request)
        if method.get("apiKeyRequired"):
            self._check_key(stage, request.headers.get("X-Api-Key", ""))
        self._throttle(stage, resource, verb)

    def _authorize(self, stage: Stage, method: Definition, verb: str, path: str, request: Request) -> None:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html"""
        kind = method.get("authorizationType") or "NONE"
        if kind not in ("NONE", "AWS_IAM"):
            raise NotSimulated(f"The sandbox does not check authorization of type {kind}.")
        who: Principal | None = Principal()
        if kind == "AWS_IAM":
            scope = credential_scope(request.headers.get("Authorization", ""))
            if scope is None:
                raise missing_token()
            if scope.service != "execute-api":
                said = "Credential should be scoped to correct service: 'execute-api'."
                raise GatewayResponse(403, "InvalidSignatureException", said)
            wrong = self._misses_key(
                Operation(
                    scope.service,
                    "",
                    region=scope.region,
                    access_key=scope.access_key,
                    method=request.method,
                    path=request.path,
                    protocol="rest",
                    body=request.get_data(),
                    request=request,
                )
            )
            if wrong is not None:
                raise GatewayResponse(wrong.status, wrong.code, wrong.message)
            who = self._identify(scope.access_key)
        policy = tuple(statements(stage.snapshot.policy) or ())
        api = f"{stage.snapshot.api_id}/{stage.name}/{verb}{path}"
        region = stage.snapshot.region
        context = {"aws:SourceIp": request.remote_addr or "127.0.0.1"}
        need = Need("execute-api:Invoke", f"arn:aws:execute-api:{region}:{ACCOUNT}:{api}", context, policy)
        why = self._permissions.why_not(who or Principal(), need) if kind == "AWS_IAM" or policy else None
        if who is None and why is not None and not why.startswith(EXPLICIT):
            why = None  # the administrator may do what nothing denies
        if why is not None:
            # The sentence as field reports have it: API Gateway hides all of the account's number but its end.
            arn = f"arn:aws:execute-api:{region}:********{ACCOUNT[-4:]}:{api}"
            name = who.arn if who is not None and who.arn else "anonymous"
            said = f"User: {name} is not authorized to perform: execute-api:Invoke on resource: {arn}"
            raise GatewayResponse(403, "AccessDeniedException", said + (EXPLICIT if why.startswith(EXPLICIT) else ""))

    def _check_key(self, stage: Stage, value: str) -> None:
        """A key that is enabled, and in a plan with this stage; and the limits that the plan gives each of its keys.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html
        """
        found = self._plan_of(stage, value)
        if found is None:
            raise forbidden()
        plan, key = found
        if plan.get("quota"):
            raise NotSimulated("The sandbox does not count the quota of a usage plan.")
        limits = plan.get("throttle") or {}
        if limits:
            self._take((plan["id"], key), float(limits.get("rateLimit", 0)), float(limits.get("burstLimit", 0)))

    def _throttle(self, stage: Stage, resource: Resource, verb: str) -> None:
        """A token bucket for each method: it holds the burst, and is filled by the rate.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
        """
        limits = stage.settings_of(resource.path, verb)
        rate, burst = (float(limits.get(f"throttling{name}Limit", -1)) for name in ("Rate", "Burst"))
        if rate < 0 or burst < 0:
            return
        self._take((stage.snapshot.api_id, stage.name, resource.path, verb), rate, burst)

    def _take(self, key: tuple[str, ...], rate: float, burst: float) -> None:
        """One token out of a bucket. Raises GatewayResponse where there is none."""
        now = time.monotonic()
        with self._lock:
            tokens, since = self._buckets.get(key, (burst, now))
            tokens = min(burst, tokens + (now - since) * rate)
            passes = tokens >= 1
            self._buckets[key] = (tokens - 1 if passes else tokens, now)
        if not passes:
            raise GatewayResponse(429, "TooManyRequestsException", "Too Many Requests")


# ------------------------------------------------------------------------------------------ the policy of a definition


def whole(policy: str, api_id: str, region: str) -> str:
    """A resource policy as API Gateway keeps it: with the API's whole ARN, where it was written as execute-api:/...

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-examples.html
    """
    return policy.replace('"execute-api:/', f'"arn:aws:execute-api:{region}:{ACCOUNT}:{api_id}/')


def as_answered(policy: str) -> str:
    """As GetRestApi has it: without spaces, and with a backslash before each quote and slash.

    hashicorp/terraform-provider-aws#4397 shows one.
    """
    return json.dumps(json.loads(policy), separators=(",", ":")).replace('"', '\\"').replace("/", "\\/")


def is_policy(text: Any) -> bool:
    """Whether it is a policy of a resource: each statement has an effect, a principal and an action."""
    found = statements(text) if isinstance(text, str) else None
    wanted = ({"Effect"}, {"Principal", "NotPrincipal"}, {"Action", "NotAction"})
    return bool(found) and all(all(names & one.keys() for names in wanted) for one in as_list(found))
