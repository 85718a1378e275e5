"""The HTTP interface: `patchwright serve`; `docs/http.md` shows it in use.

limits     what one of many may ask for
service    models, run store and job queue: an experiment in, a job or a result out
schemas    bodies of requests and answers, as JSON and in the OpenAPI description
errors     every failure as {"error": {"code", "message"}}
turns      work of which only a few pieces run at one time
middleware what is checked before a request is read: host, token, size
routes     the endpoints
openapi    experiments in the OpenAPI description
app        all of it put together
serving    starting: models loaded, token read, listening
"""
