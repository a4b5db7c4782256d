"""One step of making room: the oldest records become one range, signed again."""

from edge_agent.model.errors import TrustError, WireError
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.squash import Compose, merge, seal_stretch
from edge_agent.store.log import Log


def squash(log: Log, key: PrivateKey, compose: Compose) -> bool:
    """Squash what the log offers next; False when it offers nothing. For the worker thread.

    Call it while `log.room(…)` says "squash". Raises TrustError or WireError when a record on disk does not verify:
    its segment is then left as it is, and the next call goes on with another. Raises StoreError.
    """
    work = log.squash_candidates()
    if work is None:
        return False
    try:
        stretch = merge(work.envelopes, key.public, compose)
    except (TrustError, WireError):
        log.leave_as_is(work.first)
        raise
    log.replace(work.first, work.last, seal_stretch(stretch, key))
    return True
