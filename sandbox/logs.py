"""CloudWatch Logs: what AWS refuses and moto does not, and what moto keeps of a group that is gone."""

from __future__ import annotations

from sandbox.backend import Backend
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Words

# API_PutRetentionPolicy.html, retentionInDays
RETENTIONS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
NO_GROUP = Words(400, "ResourceNotFoundException", "The specified log group does not exist.")
BY_ARN = ("TagResource", "UntagResource", "ListTagsForResource")


class LogGroups:
    """In front of moto's Logs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def refused(self, operation: Operation) -> Words | None:
        """AWS's words for the call, where moto would not refuse it."""
        if operation.name == "PutRetentionPolicy":
            days = operation.parameters.get("retentionInDays")
            if days not in RETENTIONS:
                allowed = ", ".join(map(str, RETENTIONS))
                return Words(
                    400,
                    "InvalidParameterException",
                    f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                    f"Member must satisfy enum value set: [{allowed}]",
                )
        if operation.name in BY_ARN:
            # arn:aws:logs:region:account:log-group:name, with or without :* at its end
            name = operation.text("resourceArn").partition(":log-group:")[2].removesuffix(":*")
            if name and not self._exists(operation, name):
                return NO_GROUP
        if operation.name == "GetLogEvents":
            group, stream = operation.text("logGroupName"), operation.text("logStreamName")
            if not self._exists(operation, group):
                return NO_GROUP
            asked = {"logGroupName": group, "logStreamNamePrefix": stream}
            streams = self._backend.logs("DescribeLogStreams", asked, region=operation.region)["logStreams"]
            if stream not in [one["logStreamName"] for one in streams]:
                return Words(400, "ResourceNotFoundException", "The specified log stream does not exist.")
        return None

    def take_tags_along(self, operation: Operation) -> None:
        """With a log group its tags go. moto would give them to the next one of the same name."""
        if operation.name != "DeleteLogGroup":
            return
        asked = {"logGroupNamePrefix": operation.text("logGroupName")}
        for group in self._backend.logs("DescribeLogGroups", asked, region=operation.region)["logGroups"]:
            if group["logGroupName"] == operation.text("logGroupName"):
                arn = {"resourceArn": group["arn"].removesuffix(":*")}
                tags = self._backend.logs("ListTagsForResource", arn, region=operation.region)["tags"]
                self._backend.logs("UntagResource", {**arn, "tagKeys": list(tags)}, region=operation.region)

    def _exists(self, operation: Operation, name: str) -> bool:
        listed = self._backend.logs("DescribeLogGroups", {"logGroupNamePrefix": name}, region=operation.region)
        return name in [one["logGroupName"] for one in listed["logGroups"]]
