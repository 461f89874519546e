"""The tags of a resource as condition keys: aws:ResourceTag/KEY and, of roles and users, iam:ResourceTag/KEY.

Which resources have them, and which actions name such a resource, is in the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from werkzeug.wrappers import Request, Response

from sandbox.backend import Backend, BackendError, MotoFailed, texts
from sandbox.protocol.operations import Operation, json_object, operation_of
from sandbox.protocol.scope import ACCOUNT, Scope, environ_of, last, signed

API = re.compile(r"/(?:restapis|apikeys|usageplans)/[^/]+")
STAGE = re.compile(r"/restapis/[^/]+/stages/[^/]+")


class ResourceTags:
    """Reads the tags that a resource has now."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # moto does not have the tags of triggers, nor all of APIs: the front puts itself here, which asks who has them.
        self.ask: Callable[[Operation], Response] = backend.forward

    def context(self, action: str, arn: str) -> dict[str, str]:
        """The condition keys; none where AWS has none for the action, or if there is no such resource (yet).

        They say nothing reliable about roles that are passed:
        https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
        """
        parts = arn.split(":", 5)
        if len(parts) < 6 or parts[4] not in ("", ACCOUNT) or action == "iam:PassRole":
            return {}
        _, _, service, region, _, resource = parts
        try:
            tags = self._read(service, region, resource, arn)
        except (BackendError, MotoFailed):
            return {}  # there is no such resource: the service says so itself, to a caller who may ask
        found = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        if service == "iam" and resource.startswith(("role/", "user/")):
            found |= {f"iam:ResourceTag/{key}": value for key, value in tags.items()}
        return found

    def _read(self, service: str, region: str, resource: str, arn: str) -> dict[str, str]:
        kind = re.split("[/:]", resource)[0]
        match service, kind:
            case "iam", "role" | "user":
                return self._of_iam(f"List{kind.title()}Tags", {f"{kind.title()}Name": last(resource, "/")})
            case "iam", "policy":
                return self._of_iam("ListPolicyTags", {"PolicyArn": arn})
            case "sqs", _ if ":" not in resource:
                return dict(self._backend.of_queue("ListQueueTags", arn).get("Tags") or {})
            case "dynamodb", "table" if "/stream/" not in resource:
                return self._of_table(region, arn.partition("/index/")[0])
            case "logs", "log-group":
                group = ":".join(arn.split(":")[:7])
                asked = {"resourceArn": group}
                return dict(self._backend.json("logs", "ListTagsForResource", asked, region=region)["tags"])
            case "lambda", "function" | "event-source-mapping":
                whole = ":".join(arn.split(":")[:7])  # without a version or alias
                return self._of_rest("lambda", region, f"/2017-03-31/tags/{quote(whole)}", "Tags")
            case "apigateway", _:
                return self._of_api(region, resource)
        return {}

    def _of_iam(self, action: str, named: dict[str, str]) -> dict[str, str]:
        tree = ElementTree.fromstring(self._backend.query("iam", action, named))
        return dict(zip(texts(tree, "Key"), texts(tree, "Value"), strict=True))

    def _of_table(self, region: str, arn: str) -> dict[str, str]:
        """Indexes have the tags of their table (DynamoDB guide, "Using attribute-based access control")."""
        tags: dict[str, str] = {}
        asked: dict[str, Any] = {"ResourceArn": arn}
        while True:
            page = self._backend.json("dynamodb", "ListTagsOfResource", asked, region=region)
            tags |= {one["Key"]: one["Value"] for one in page["Tags"]}
            if not page.get("NextToken"):
                return tags
            asked["NextToken"] = page["NextToken"]

    def _of_api(self, region: str, path: str) -> dict[str, str]:
        """What is below an API or a usage plan has its tags, too; those of a stage come first.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-tagging-supported-resources.html
        """
        tags: dict[str, str] = {}
        for pattern in (API, STAGE):
            found = pattern.match(path)
            if found is not None:
                arn = quote(f"arn:aws:apigateway:{region}::{found[0]}", safe="")
                tags |= self._of_rest("apigateway", region, f"/tags/{arn}", "tags")
        return tags

    def _of_rest(self, service: str, region: str, uri: str, member: str) -> dict[str, str]:
        headers = {"Host": "localhost", "Authorization": signed(Scope("sandbox", region, service))}
        operation = operation_of(Request(environ_of("GET", uri, headers.items(), b"")))
        assert operation is not None
        answer = self.ask(operation)
        return dict(json_object(answer.get_data()).get(member) or {}) if answer.status_code == 200 else {}
