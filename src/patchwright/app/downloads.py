"""A model's files on their way to this machine: how far, and how to stop. No Streamlit here."""

import logging
import threading

from patchwright.errors import PatchwrightError
from patchwright.model.catalog import get


class Download:
    """One model's files; fetched once for everybody who asks for it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.bytes = (0, 0)
        self.error: PatchwrightError | None = None

    @property
    def running(self) -> bool:
        """Whether files are being fetched."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin, or begin again; what came whole from the hub before is kept."""
        with self._lock:
            if self.running:
                return
            self._stop.clear()
            self.error, self.bytes = None, (0, 0)
            self._thread = threading.Thread(target=self._fetch, name=f"download {self._name}")
            self._thread.daemon = True
            self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def _fetch(self) -> None:
        try:
            get(self._name, self._note)
        except PatchwrightError as error:
            self.error = error
        except BaseException:  # as in `jobs`
            logging.getLogger(__name__).exception("A download failed")
            self.error = PatchwrightError(
                f"The download of '{self._name}' failed in a way that should not happen: try "
                "again. The server's log has the details."
            )

    def _note(self, done: int, total: int) -> bool:
        self.bytes = (done, total)
        return not self._stop.is_set()
