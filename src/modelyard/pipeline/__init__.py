"""The stages in one durable run: from uploaded bytes to an endpoint that answers, by one command.

A *job* is a row with parameters and a story of events. ``runner`` claims jobs and gives each a
thread; ``run`` is a job in progress: it enters stages, records what each brought, and notices when
it is cancelled or no longer the owner; ``deploy`` holds the stages of a deployment. What a finished
stage brought is in its event, so that a run that was killed at any instant goes on from there.
"""
