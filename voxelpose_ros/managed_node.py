"""A managed node whose transitions acquire things and give them back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from voxelpose_core.errors import InputError
from voxelpose_ros import clocks


class ManagedNode(LifecycleNode):
    """Answers the transitions of a managed node by `configure` and `activate` of a subclass.

    What these two put on the stack that they are given is given back by the transitions the other
    way, or at once where they fail. A transition that fails is logged in one line.
    """

    def __init__(self, name: str):
        super().__init__(name, allow_undeclared_parameters=True)
        # What configure and activate acquired, and how to give it back.
        self._configured: ExitStack | None = None
        self._active: ExitStack | None = None
        self._starting = False
        self._failure: Exception | None = None

    def configure(self, acquired: ExitStack) -> None:
        """Load what the node needs and advertise its output.

        Args:
            acquired: takes what is to be undone by cleanup.

        Raises:
            InputError: when something that the user gave is not as expected.
        """
        raise NotImplementedError

    def activate(self, acquired: ExitStack) -> None:
        """Begin to work.

        Args:
            acquired: takes what is to be undone by deactivate.

        Raises:
            InputError: as `configure`.
        """
        raise NotImplementedError

    @property
    def is_configured(self) -> bool:
        """Whether the node is inactive or active."""
        return self._configured is not None

    @property
    def is_active(self) -> bool:
        """Whether the node is active."""
        return self._active is not None

    def start(self) -> None:
        """Configure and activate.

        Raises:
            InputError: when the calibration, the weights or a parameter are not as expected.
        """
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure
        self._starting = False

    def close(self) -> None:
        """Give everything back, before the node is destroyed."""
        self._deactivate()
        self._clean_up()

    def every(self, period_s: float, work: Callable[[], None], acquired: ExitStack) -> None:
        """Call `work` every `period_s` seconds of a clock that never jumps, until `acquired` is closed."""
        acquired.callback(self.destroy_timer, clocks.steady_timer(self, period_s, work))

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The transition `configure`."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The transition `activate`."""
        return self._attempt(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The transition `deactivate`: undoes `activate`."""
        return self._attempt(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The transition `cleanup`: undoes `configure`."""
        return self._attempt(self._clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The transition `shutdown`, from whatever state."""
        return self._attempt(self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition: back to the beginning."""
        return self._attempt(self.close)

    def _configure(self) -> None:
        with ExitStack() as acquired:
            self.configure(acquired)
            self._configured = acquired.pop_all()

    def _activate(self) -> None:
        with ExitStack() as acquired:
            self.activate(acquired)
            self._active = acquired.pop_all()

    def _deactivate(self) -> None:
        if self._active is not None:
            self._active.close()
            self._active = None

    def _clean_up(self) -> None:
        if self._configured is not None:
            self._configured.close()
            self._configured = None

    def _attempt(self, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except InputError as error:
            self._failure = error
            # A start by itself ends the process, with this line.
            if not self._starting:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        # rclpy would swallow it.
        except Exception as error:
            self._failure = error
            self.get_logger().error(f"{type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS
