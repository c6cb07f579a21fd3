"""Ready examples people can launch as they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A job worth launching; `about_seconds` is how long it takes on one slow CPU core."""

    slug: str
    title: str
    summary: str
    name: str
    environment: str
    command: str
    gpus: int
    time_limit_seconds: int
    about_seconds: int


_DIGITS_PROGRAM = '''\
"""Teach a small neural network to read handwritten digits."""

import json

import joblib
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from tensorboard.summary import Writer

EPOCHS = 60

images, labels = load_digits(return_X_y=True)  # 1,797 images of 8 x 8 pixels
train_x, test_x, train_y, test_y = train_test_split(
    images, labels, test_size=0.25, stratify=labels, random_state=0
)
scaler = StandardScaler().fit(train_x)
train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
print(f"{len(train_x)} images to learn from, {len(test_x)} to test on", flush=True)

model = MLPClassifier(
    hidden_layer_sizes=(1024, 512),
    solver="sgd",
    learning_rate_init=0.005,
    batch_size=32,
    random_state=0,
)
epochs = []
curves = Writer("runs/digits")
for epoch in range(1, EPOCHS + 1):
    model.partial_fit(train_x, train_y, classes=range(10))
    loss = log_loss(train_y, model.predict_proba(train_x), labels=range(10))
    accuracy = model.score(test_x, test_y)
    epochs.append({"epoch": epoch, "loss": loss, "accuracy": accuracy})
    curves.add_scalar("loss", loss, step=epoch)
    curves.add_scalar("accuracy", accuracy, step=epoch)
    curves.flush()
    print(f"epoch {epoch:2}/{EPOCHS}  loss {loss:.4f}  accuracy {accuracy:.3f}", flush=True)

curves.close()
joblib.dump({"scaler": scaler, "model": model}, "model.joblib")
with open("metrics.json", "w") as file:
    json.dump(epochs, file, indent=2)
print(f"saved model.joblib and metrics.json: it reads {accuracy:.1%} of the test images")
'''

DIGITS = Example(
    slug="digits",
    title="Handwritten digits",
    summary="Trains a classifier on 1,797 handwritten digits and saves the model.",
    name="digits",
    environment="python-data",
    command=f"cat > train.py <<'PY'\n{_DIGITS_PROGRAM}PY\npython train.py\n",
    gpus=1,
    time_limit_seconds=600,
    about_seconds=20,
)

EXAMPLES = (DIGITS,)


def example_of(slug: str) -> Example | None:
    """The example with this slug, if there is one."""
    return next((example for example in EXAMPLES if example.slug == slug), None)
