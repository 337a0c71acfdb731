"""Telling people what happened: five channels, beside the trading path and never in it."""

from holdfast.notify.apprise_sender import AppriseSender
from holdfast.notify.notice import CHANNELS, Notice
from holdfast.notify.notifier import Notifier
from holdfast.notify.senders import RecordingSender, Sender, SendError

__all__ = ["CHANNELS", "AppriseSender", "Notice", "Notifier", "RecordingSender", "SendError", "Sender"]
