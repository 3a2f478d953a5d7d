"""The client of the model server: admission, batching, retry and breaker over a transport seam."""

from inference.client.batching import Answer
from inference.client.breaker import BreakerPolicy
from inference.client.limits import Limits, Retry
from inference.client.observer import Observer, Outcome
from inference.client.scheduler import Scheduler
from inference.client.transport import Transport

__all__ = ["Answer", "BreakerPolicy", "Limits", "Observer", "Outcome", "Retry", "Scheduler", "Transport"]
