"""How messages leave: a module for each kind of channel."""

from monitoring.channels import email, pagerduty, slack, teams, webhook
from monitoring.channels.registry import Answer, Kind, Message, Permanent, Retry, Sent, find, names, register

register(webhook.Webhook())
register(email.Email())
register(slack.IncomingWebhook())
register(slack.Bot())
register(pagerduty.PagerDuty())
register(teams.Teams())

__all__ = ["Answer", "Kind", "Message", "Permanent", "Retry", "Sent", "find", "names", "register"]
