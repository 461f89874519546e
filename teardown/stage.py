"""Undoes step 8: the stage, and the deployments that only it served."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.stage import find_stage


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_stage(aws.apigateway, resource.identity["restApiId"], resource.identity["stageName"])


def delete_stage(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    api_id = resource.identity["restApiId"]
    aws.apigateway.delete_stage(
        restApiId=api_id,
        stageName=resource.identity["stageName"],
    )
    # A deployment without a stage serves nobody; one that another stage points to is that stage's.
    served = {stage["deploymentId"] for stage in aws.apigateway.get_stages(restApiId=api_id)["item"]}
    for page in aws.apigateway.get_paginator("get_deployments").paginate(restApiId=api_id):
        for deployment in page["items"]:
            if deployment["id"] not in served:
                aws.apigateway.delete_deployment(
                    restApiId=api_id,
                    deploymentId=deployment["id"],
                )
