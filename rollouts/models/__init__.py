"""What rollouts remember."""

from rollouts.models.approvals import FOUR_EYES, Vote
from rollouts.models.audiences import Audience, AudienceMember
from rollouts.models.change_requests import PENDING, Approval, ChangeRequest
from rollouts.models.contexts import ContextSample
from rollouts.models.deployments import FULL_WEIGHT, NOT_BEGUN, UNDER_WAY, Deployment, DeploymentFlag
from rollouts.models.dotenv import VariableNames
from rollouts.models.flags import Flag, FlagConfig, FlagRevision
from rollouts.models.gates import Gate, Stage
from rollouts.models.plans import Plan
from rollouts.models.releases import Release
from rollouts.models.segments import Segment, SegmentRevision

__all__ = [
    "FOUR_EYES",
    "FULL_WEIGHT",
    "NOT_BEGUN",
    "PENDING",
    "UNDER_WAY",
    "ContextSample",
    "Approval",
    "Audience",
    "AudienceMember",
    "ChangeRequest",
    "Deployment",
    "DeploymentFlag",
    "Flag",
    "FlagConfig",
    "FlagRevision",
    "Gate",
    "Plan",
    "Release",
    "Segment",
    "SegmentRevision",
    "Stage",
    "VariableNames",
    "Vote",
]
