"""CloudWatch Logs: what AWS refuses and moto does not, and the tags of a deleted group, which moto keeps."""

from __future__ import annotations

from sandbox.backend import Backend
from sandbox.protocol.constraints import counted, of_constraint
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Refused

# API_PutRetentionPolicy.html, retentionInDays
RETENTIONS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
BY_ARN = ("TagResource", "UntagResource", "ListTagsForResource")


def absent(what: str) -> Refused:
    return Refused(400, "ResourceNotFoundException", f"The specified log {what} does not exist.")


class LogGroups:
    """In front of moto's Logs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def check(self, operation: Operation) -> None:
        """Raise Refused for what moto would accept."""
        if operation.name == "PutRetentionPolicy":
            days = operation.parameters.get("retentionInDays")
            if days not in RETENTIONS:
                enumeration = f"Member must satisfy enum value set: [{', '.join(map(str, RETENTIONS))}]"
                said = counted([of_constraint(days, "retentionInDays", enumeration)])
                raise Refused(400, "InvalidParameterException", said)
        if operation.name in BY_ARN:
            # arn:aws:logs:region:account:log-group:name, with or without :* at its end
            name = operation.text("resourceArn").partition(":log-group:")[2].removesuffix(":*")
            if name and not self._exists(operation, name):
                raise absent("group")
        if operation.name == "GetLogEvents":
            group, stream = operation.text("logGroupName"), operation.text("logStreamName")
            if not self._exists(operation, group):
                raise absent("group")
            asked = {"logGroupName": group, "logStreamNamePrefix": stream}
            streams = self._backend.json("logs", "DescribeLogStreams", asked, region=operation.region)["logStreams"]
            if stream not in [one["logStreamName"] for one in streams]:
                raise absent("stream")

    def take_tags_along(self, operation: Operation) -> None:
        """Delete the tags of a log group with it; moto would give them to the next group of that name."""
        if operation.name != "DeleteLogGroup":
            return
        asked = {"logGroupNamePrefix": operation.text("logGroupName")}
        for group in self._backend.json("logs", "DescribeLogGroups", asked, region=operation.region)["logGroups"]:
            if group["logGroupName"] == operation.text("logGroupName"):
                arn = {"resourceArn": group["arn"].removesuffix(":*")}
                tags = self._backend.json("logs", "ListTagsForResource", arn, region=operation.region)["tags"]
                self._backend.json("logs", "UntagResource", {**arn, "tagKeys": list(tags)}, region=operation.region)

    def _exists(self, operation: Operation, name: str) -> bool:
        listed = self._backend.json("logs", "DescribeLogGroups", {"logGroupNamePrefix": name}, region=operation.region)
        return name in [one["logGroupName"] for one in listed["logGroups"]]
