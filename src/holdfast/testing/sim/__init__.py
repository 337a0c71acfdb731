"""The deterministic simulator: the whole bot and the whole venue in one process, under virtual time, from one seed."""

from holdfast.testing.sim.scenario import Scenario, scenario
from holdfast.testing.sim.world import Result, simulate

__all__ = ["Result", "Scenario", "scenario", "simulate"]
