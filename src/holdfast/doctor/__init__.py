"""``holdfast doctor``: looks at everything a bot will lean on, changes nothing, and says what to do about what it finds."""

from holdfast.doctor.findings import Finding, State
from holdfast.doctor.situation import Situation, Thresholds
from holdfast.doctor.table import CHECKS, Check, examine

__all__ = ["CHECKS", "Check", "Finding", "Situation", "State", "Thresholds", "examine"]
