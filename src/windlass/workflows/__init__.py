"""Workflows: graphs of jobs, declared as functions that compose steps.

``step`` what a step is while its workflow is traced; ``trace`` the graph that grows; ``plan`` the jobs that it becomes;
``workflow`` what ``@app.workflow`` makes; ``running`` the jobs of our own that start, expand and end a run; ``run`` one
execution, as its starter sees it.
"""
