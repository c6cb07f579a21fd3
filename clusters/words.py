"""Words for what people choose from."""

from __future__ import annotations

from django.conf import settings

# A sentence for each environment that comes with FastGPU; operators add others.
_ENVIRONMENTS = {
    "python-data": "Python with NumPy, scikit-learn and joblib.",
    "pytorch": "Python with PyTorch for these GPUs.",
    "tensorflow": "Python with TensorFlow for these GPUs.",
    "system": "The bare system, without Python packages.",
}


def environment_words(slug: str) -> str:
    """What is in an environment, in a sentence."""
    return _ENVIRONMENTS.get(slug, "Made by the operators of this installation.")


def minutes_words(minutes: int) -> str:
    """`30 min`, `4 h`, `1 h 30 min`."""
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, [f"{hours} h" if hours else "", f"{rest} min" if rest else ""]))


def idle_rule() -> str:
    """What counts as idle, in two sentences."""
    return (
        "Idle means that no cell runs, nobody uses it, its GPUs are less than "
        f"{settings.IDLE_GPU_PERCENT} % busy and its CPU less than {settings.IDLE_CPU_PERCENT} % "
        "of a core, for all of that time. What cannot be measured never counts as idle."
    )
