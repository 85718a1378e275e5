"""The HTTP interface: `patchwright serve`; `docs/http.md` shows it in use.

limits     what one of many may ask for
office     models, the run store and the desk: an experiment in, a job or a result out
documents  what answers look like, as JSON and in the OpenAPI description
refusals   every failure as {"error": {"code", "message"}}
turns      work that is done a few pieces at one time, and who waits for it
guard      before anything is read: who asks, and how much they send
routes     the addresses
description  experiments in the OpenAPI description
app        all of it put together
server     started: models loaded, token read, listening
"""
