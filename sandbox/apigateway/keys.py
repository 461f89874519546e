"""API keys and usage plans: moto keeps them, and this does with them what moto does not.

It lets a key into the stages of its plans, takes a deleted stage or key out of the plans, keeps tags, and refuses in
AWS's words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from werkzeug.wrappers import Response

from sandbox.apigateway.caller import Caller
from sandbox.apigateway.execution import Definition, Stage
from sandbox.backend import Backend
from sandbox.protocol.refusals import NotSimulated, Refused, answer_json

# https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
OF_KEYS = ("/name", "/description", "/enabled", "/customerId")
OF_PLANS = (
    "/name", "/description", "/productCode", "/apiStages", "/throttle", "/throttle/rateLimit", "/throttle/burstLimit",
    "/quota", "/quota/limit", "/quota/period", "/quota/offset",
)  # fmt: skip


def _bad_request(message: str) -> Refused:
    return Refused(400, "BadRequestException", message)


class Keys:
    """The API keys and usage plans of the sandbox."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tags: dict[str, dict[str, str]] = {}  # by path, if they were changed

    # -- for the data plane

    def plan_of(self, stage: Stage, value: str) -> tuple[Definition, str] | None:
        """The usage plan by which a key of this value is let into a stage, and the key's id; None: it is not."""
        ask = partial(self._backend.call, "apigateway", "GET", region=stage.snapshot.region)
        keys = ask("/apikeys", query="includeValues=true").json()["item"]
        key = next((one for one in keys if one["value"] == value and one["enabled"]), None)
        if key is None:
            return None
        for plan in ask("/usageplans", query=f"keyId={key['id']}").json()["item"]:
            if f"{stage.snapshot.api_id}:{stage.name}" in stages_of(plan):
                return plan, key["id"]
        return None

    # -- the control plane

    def handle(self, caller: Caller) -> Response | None:
        """The answer to a call about keys and plans; None for every other call. Raises Refused and NotSimulated."""
        act = ACTS.get(caller.operation.name)
        if act is None:
            return None
        *parts, last = caller.operation.path.strip("/").split("/")
        return act(self, caller, parts[1] if len(parts) > 1 else last)

    def tags(self, caller: Caller, path: str) -> Response:
        """GetTags, TagResource or UntagResource of a key or a plan."""
        tags = dict(self._view(caller.get(path)).get("tags") or {})
        if caller.operation.name == "GetTags":
            return answer_json(200, {"tags": tags})
        if caller.operation.name == "TagResource":
            tags.update(caller.document.get("tags") or {})
        for key in caller.operation.request.args.getlist("tagKeys"):
            tags.pop(key, None)
        self._tags[path] = tags
        return answer_json(204)

    def forget_stage(self, caller: Caller, api: str, stage: str = "") -> None:
        """Take a deleted stage, or all of an API, out of the plans: hashicorp/terraform-provider-aws#14100."""
        for plan in caller.items("/usageplans"):
            for one in stages_of(plan):
                if one.partition(":")[0] == api and stage in ("", one.partition(":")[2]):
                    change = {"op": "remove", "path": "/apiStages", "value": one}
                    caller.do("PATCH", f"/usageplans/{plan['id']}", {"patchOperations": [change]})

    def _view(self, body: Any) -> Any:
        """With the tags set later, as moto keeps only those of the creating call."""
        for one in body.get("item", [body]):
            path = f"/{'usageplans' if 'apiStages' in one else 'apikeys'}/{one.get('id')}"
            if path in self._tags:
                one.pop("tags", None)
                one |= {"tags": self._tags[path]} if self._tags[path] else {}
        return body

    def _see(self, caller: Caller, name: str) -> Response:
        return caller.forward(self._view)

    def _update_key(self, caller: Caller, key: str) -> Response:
        caller.get(f"/apikeys/{key}")
        for change in changes_of(caller, OF_KEYS):
            if change.get("op") != "replace":
                raise NotSimulated("The sandbox replaces attributes of an API key only.")

        def view(body: Any) -> Any:
            body.pop("value", None)
            return self._view(body)

        return caller.forward(view)

    def _delete_key(self, caller: Caller, key: str) -> Response:
        caller.get(f"/apikeys/{key}")
        for plan in plans_of(caller, key):
            caller.do("DELETE", f"/usageplans/{plan['id']}/keys/{key}")
        caller.forward()
        self._tags.pop(f"/apikeys/{key}", None)
        return answer_json(202)

    def _create_plan(self, caller: Caller, name: str) -> Response:
        for stage in stages_of(caller.document):
            require_stage(caller, stage)
        return self._see(caller, name)

    def _update_plan(self, caller: Caller, plan: str) -> Response:
        stages = stages_of(caller.get(f"/usageplans/{plan}"))
        for change in changes_of(caller, OF_PLANS):
            if change.get("path") != "/apiStages":
                continue
            if change.get("op") == "add":
                require_stage(caller, str(change.get("value")))
            elif change.get("op") != "remove" or change.get("value") not in stages:
                raise _bad_request("Invalid API Stage specified")  # boto/boto3#2629
        return self._see(caller, plan)

    def _delete_plan(self, caller: Caller, plan: str) -> Response:
        stages = stages_of(caller.get(f"/usageplans/{plan}"))
        if stages:  # aws/aws-sdk-js#3841
            why = f"because there are API Stages associated with it, including {stages[0]}"
            raise _bad_request(f"Cannot delete Usage Plan {plan} {why}")
        caller.forward()
        self._tags.pop(f"/usageplans/{plan}", None)
        return answer_json(202)

    def _create_member(self, caller: Caller, plan: str) -> Response:
        stages = stages_of(caller.get(f"/usageplans/{plan}"))
        key = str(caller.document.get("keyId"))
        caller.get(f"/apikeys/{key}")
        if caller.document.get("keyType") != "API_KEY":
            raise _bad_request("Invalid key type specified")  # not seen in AWS's words
        for other in plans_of(caller, key):
            if other["id"] == plan:  # not seen in AWS's words
                raise Refused(409, "ConflictException", f"API Key {key} already exists in Usage Plan {plan}")
            shared = [one for one in stages_of(other) if one in stages]
            if shared:
                # "For each API stage, a given API key can only be associated with one usage plan."
                # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html
                raise Refused(
                    409,
                    "ConflictException",
                    f"Usage Plan {plan} cannot be added because API Key {key} cannot reference multiple Usage Plans "
                    f"with the same API stage: {shared[0]}",
                )
        return caller.forward()

    def _delete_member(self, caller: Caller, plan: str) -> Response:
        key = caller.operation.text("key_id") or caller.operation.path.rpartition("/")[2]
        caller.get(f"/usageplans/{plan}/keys/{key}")
        caller.forward()
        return answer_json(202)

    def _see_members(self, caller: Caller, plan: str) -> Response:
        caller.get(f"/usageplans/{plan}")
        return caller.forward()


ACTS: dict[str, Callable[[Keys, Caller, str], Response]] = {
    **dict.fromkeys(("CreateApiKey", "GetApiKey", "GetApiKeys", "GetUsagePlan", "GetUsagePlans"), Keys._see),
    "UpdateApiKey": Keys._update_key,
    "DeleteApiKey": Keys._delete_key,
    "CreateUsagePlan": Keys._create_plan,
    "UpdateUsagePlan": Keys._update_plan,
    "DeleteUsagePlan": Keys._delete_plan,
    "CreateUsagePlanKey": Keys._create_member,
    **dict.fromkeys(("GetUsagePlanKey", "GetUsagePlanKeys"), Keys._see_members),
    "DeleteUsagePlanKey": Keys._delete_member,
}


def stages_of(plan: Definition) -> list[str]:
    """The stages of a plan, as patch operations name them."""
    return [f"{one.get('apiId')}:{one.get('stage')}" for one in plan.get("apiStages") or []]


def plans_of(caller: Caller, key: str) -> list[Definition]:
    """The usage plans that a key is in."""
    plans = caller.items("/usageplans")
    return [plan for plan in plans if caller.ask("GET", f"/usageplans/{plan['id']}/keys/{key}").ok]


def require_stage(caller: Caller, stage: str) -> None:
    """Raise Refused for a stage that is not there. The words: aws/serverless-application-model#1560."""
    api, _, name = stage.partition(":")
    if not caller.ask("GET", f"/restapis/{api}/stages/{name}").ok:
        raise Refused(404, "NotFoundException", f"API Stage not found: {stage}")


def changes_of(caller: Caller, paths: tuple[str, ...]) -> list[Definition]:
    """The patch operations. Raises Refused for a path that is not among `paths`."""
    changes = caller.document.get("patchOperations")
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        raise _bad_request("Invalid patch operations specified")
    for one in changes:
        path = str(one.get("path"))
        if path.startswith("/apiStages/") and paths is OF_PLANS:
            raise NotSimulated("The sandbox sets no limits of single methods in a usage plan.")
        if path not in paths:
            raise _bad_request(f"Invalid patch path  '{path}' specified for op '{one.get('op')}'")
    return changes
