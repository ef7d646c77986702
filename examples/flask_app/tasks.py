"""The tasks; both the web app and the workers import this module."""

from windlass import App, Retry

app = App()  # the store that WINDLASS_URL names


@app.task(retry=Retry(attempts=3), timeout=60)
def count_words(text: str) -> int:
    """Count: a plain function runs in a thread of the worker."""
    return len(text.split())
