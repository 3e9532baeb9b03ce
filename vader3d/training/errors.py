"""How a training ends before its time."""


class TrainingDiverged(RuntimeError):
    """Too many non-finite steps."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the state is written."""
