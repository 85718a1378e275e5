"""A model's files on their way to this machine: how far, and how to stop. No Streamlit here."""

import logging
import threading

from patchwright.errors import PatchwrightError
from patchwright.model import catalog


class Download:
    """One model's files; fetched once for everybody who wants it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.bytes = (0, 0)
        self.error: PatchwrightError | None = None
        self.unasked = False
        """Whether nobody asked for it: it was begun with the page."""

    @property
    def running(self) -> bool:
        """Whether files are being fetched."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def fetched(self) -> bool:
        """Whether the files were fetched, all of them."""
        return self._thread is not None and not self.running and self.error is None

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._stop.is_set()

    def start(self, unasked: bool = False) -> None:
        """Begin, or begin again; what came whole from the hub before is kept."""
        with self._lock:
            if self.running:
                return
            self._stop.clear()
            self.error, self.bytes, self.unasked = None, (0, 0), unasked
            self._thread = threading.Thread(target=self._fetch, name=f"download {self._name}")
            self._thread.daemon = True
            self._thread.start()

    def start_once(self) -> str:
        """Begin, unless that was given up on this machine before; a sentence about it."""
        if catalog.is_auto_download_disabled(self._name):
            return (
                f"'{self._name}' was removed from this machine, or could not be fetched before, so it is "
                f"not fetched unasked: `patchwright models get {self._name}` fetches it, or the page."
            )
        self.start(unasked=True)
        return (
            f"'{self._name}' is fetched in the background, and the page offers it when it is here "
            "(`make app MODEL=demo`, or `--model demo`, leaves it out)."
        )

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def _fetch(self) -> None:
        try:
            catalog.fetch_model(self._name, self._note_progress)
        except PatchwrightError as error:
            self._record_error(error)
        except BaseException:  # as in `jobs`
            logging.getLogger(__name__).exception("A download failed")
            self._record_error(
                PatchwrightError(
                    f"The download of '{self._name}' failed in a way that should not happen: try "
                    "again. The server's log has the details."
                )
            )

    def _record_error(self, error: PatchwrightError) -> None:
        self.error = error
        if self.unasked:
            print(error, flush=True)
            catalog.disable_auto_download(self._name)

    def _note_progress(self, done: int, total: int) -> bool:
        self.bytes = (done, total)
        return not self._stop.is_set()
