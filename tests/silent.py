"""An observer of polls that does nothing, for tests to override a part of."""

from mirror.model import Due, Outcome, Plan, PollReport


class Silent:
    """An observer that does nothing."""

    def planned(self, plan: Plan) -> None:
        pass

    def received(self, due: Due, size: int) -> None:
        pass

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        pass

    def finished(self, outcome: Outcome) -> None:
        pass

    def reported(self, report: PollReport) -> None:
        pass

    def inspected(self, done: int, total: int, size: int) -> None:
        pass
