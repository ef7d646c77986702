"""The tasks; both the web app and the workers import this module."""

from pydantic import BaseModel, Field

from windlass import App, Retry, current

app = App()  # the store that WINDLASS_URL names


class Text(BaseModel):
    """What people send."""

    text: str = Field(min_length=1, max_length=100_000)


class Statistics(BaseModel):
    """What they get."""

    words: int
    longest: str


@app.task(retry=Retry(attempts=3), timeout=60)
def analyse(text: Text) -> Statistics:
    """Count: a plain function, so that it runs in a thread. Models travel as JSON and arrive as models."""
    words = text.text.split()
    current().progress(0.5, f"{len(words)} words")
    return Statistics(words=len(words), longest=max(words, key=len, default=""))
