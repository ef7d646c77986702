"""A Flask app that hands slow work to workers.

    export WINDLASS_URL=sqlite:////tmp/flask-demo.db
    cd examples/flask_app
    windlass worker --app tasks:app &
    flask --app web:web run
    curl -X POST localhost:5000/texts -d 'to be or not to be'

The answer names the job; GET /texts/<job> tells its state, and at last the number of words.
"""

from flask import Flask, request, url_for
from tasks import app, count_words
from werkzeug.wrappers import Response

from windlass import JobNotFound, StoreUnavailable

web = Flask(__name__)

Answer = tuple[dict[str, object], int] | tuple[dict[str, object], int, dict[str, str]]


@web.post("/texts")
def start() -> Answer:
    """Store the job, and answer at once."""
    job = count_words.enqueue_sync(request.get_data(as_text=True))
    return {"job": job.id, "status": "ready"}, 202, {"Location": url_for("show", job_id=job.id)}


@web.get("/texts/<uuid:job_id>")
def show(job_id: object) -> Answer:
    """Tell how far it is."""
    job = app.job(str(job_id))
    status = job.status_sync()
    if status == "succeeded":
        return {"job": job.id, "status": status, "words": job.result_sync()}, 200
    return {"job": job.id, "status": status}, 200


@web.delete("/texts/<uuid:job_id>")
def cancel(job_id: object) -> Response:
    """Change one's mind; a job that has finished stays as it is."""
    app.job(str(job_id)).cancel_sync()
    return Response(status=204)


@web.errorhandler(JobNotFound)
def no_such_job(_: JobNotFound) -> Answer:
    """Answer 404 for a job that never was, or is no longer kept."""
    return {"error": "no such job"}, 404


@web.errorhandler(StoreUnavailable)
def try_later(_: StoreUnavailable) -> Answer:
    """Answer 503 when the store cannot be reached: nothing was accepted."""
    return {"error": "try again later"}, 503
