"""How messages leave: a module for each kind of channel."""

from monitoring.channels import email, webhook
from monitoring.channels.registry import Answer, Kind, Message, Permanent, Retry, Sent, find, names, register

register(webhook.Webhook())
register(email.Email())

__all__ = ["Answer", "Kind", "Message", "Permanent", "Retry", "Sent", "find", "names", "register"]
