"""Updates the data set after a poll; a failure here never is one of the poll."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from mirror.errors import MirrorError
from mirror.logs import get_logger
from mirror.store.layout import DataDir


async def update_dataset(data: DataDir, *, moved: Callable[[int, int], None]) -> str | None:
    """Make the months of the data set whose days have changed.

    Where nothing has, that is a look at a few files' names, sizes and times.

    Args:
        data: the data directory, held for writing by nobody, or by a poll of another process.
        moved: told, from any thread, of files and bytes as it gets on.

    Returns:
        What kept the data set from being in step; None where it is.
    """
    # only where it is asked for: a poll without a data set is not to pay for it
    from mirror.dataset.build import keep_in_step  # noqa: PLC0415

    stop = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(keep_in_step, data, progress=moved, stop=stop))
    log = get_logger()
    try:
        report = await asyncio.shield(work)
    except asyncio.CancelledError:
        # a thread cannot be called back; it ends before the next daily file
        stop.set()
        with suppress(MirrorError):
            await work
        raise
    except MirrorError as error:
        log.warning("dataset.failed", problem=error.line())
        return error.line()
    if report.built or report.removed:
        log.info(
            "dataset.built",
            months=len(report.built),
            removed=len(report.removed),
            rows=report.rows,
            odd=report.odd,
        )
    for problem in report.failed:
        log.warning("dataset.failed", problem=problem)
    return "; ".join(report.failed) or None
