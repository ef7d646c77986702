"""A web app that hands slow work to workers.

    export WINDLASS_URL=sqlite:////tmp/flask-demo.db
    cd examples
    windlass worker --app flask_app:app &
    flask --app flask_app:web run
    curl -X POST localhost:5000/words -d 'to be or not to be'

The answer names the job; GET /words/<job> tells its state, and at last the number of words.
"""

import os

from flask import Flask, request

from windlass import App, JobNotFound

app = App(os.environ.get("WINDLASS_URL", "memory://"))
web = Flask(__name__)


@app.task
def count_words(text: str) -> int:
    return len(text.split())


@web.post("/words")
def start() -> tuple[dict[str, str], int]:
    """Store the job, and answer at once."""
    job = count_words.enqueue_sync(request.get_data(as_text=True))
    return {"job": job.id}, 202


@web.get("/words/<job_id>")
def show(job_id: str) -> tuple[dict[str, object], int]:
    """Tell how far it is."""
    job = app.job(job_id)
    try:
        status = job.status_sync()
    except JobNotFound:
        return {"error": "no such job"}, 404
    if status == "succeeded":
        return {"status": status, "words": job.result_sync()}, 200
    return {"status": status}, 200
