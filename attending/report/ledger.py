"""Looking things up among result rows. It finds and sorts; it computes nothing."""

from collections.abc import Iterable

from attending.evaluation import Result


class Ledger:
    """Result rows, found by what they are about."""

    def __init__(self, rows: Iterable[Result]) -> None:
        self.rows = tuple(rows)

    def value(self, *, model: str, metric: str, finding: str) -> Result | None:
        """The row of a model on all its cases."""
        return self._first(model=model, metric=metric, finding=finding, comparator=None, slice=None)

    def difference(self, *, model: str, comparator: str, metric: str, finding: str) -> Result | None:
        """The row of model − comparator."""
        return self._first(model=model, metric=metric, finding=finding, comparator=comparator, slice=None)

    def differences(self, *, model: str, metric: str, finding: str) -> tuple[Result, ...]:
        """All comparisons of a model, in the order given."""
        rows = self._all(model=model, metric=metric, finding=finding, slice=None)
        return tuple(row for row in rows if row.comparator is not None)

    def slices(self, *, model: str, metric: str, finding: str) -> tuple[Result, ...]:
        """Subgroups of one model, by slice, in the order given."""
        rows = self._all(model=model, metric=metric, finding=finding, comparator=None)
        return tuple(row for row in rows if row.slice is not None)

    def models(self, *, finding: str) -> tuple[str, ...]:
        """Names of the models that have a value for this finding, in the order met."""
        return tuple(dict.fromkeys(row.model for row in self.rows if row.comparator is None and row.finding == finding))

    def findings(self) -> tuple[str, ...]:
        """Names of findings, in the order met; the macro average last."""
        met = dict.fromkeys(row.finding for row in self.rows)
        return (*(name for name in met if name != "macro"), *(["macro"] if "macro" in met else []))

    def metrics(self, *, model: str, finding: str) -> tuple[Result, ...]:
        """Every row of one model on all its cases."""
        return self._all(model=model, finding=finding, comparator=None, slice=None)

    def _all(self, **wanted: str | None) -> tuple[Result, ...]:
        return tuple(row for row in self.rows if all(getattr(row, key) == value for key, value in wanted.items()))

    def _first(self, **wanted: str | None) -> Result | None:
        return next(iter(self._all(**wanted)), None)
