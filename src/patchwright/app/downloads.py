"""A model's files on their way to this machine: how far, and how to stop. No Streamlit here."""

import logging
import threading
from contextlib import suppress
from pathlib import Path

from patchwright.errors import PatchwrightError
from patchwright.files import home
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
        self._only_once = False

    @property
    def _failed_before(self) -> Path:
        """The mark that `start_once` leaves where it failed, or was stopped."""
        return home() / "models" / f".{self._name.replace('/', '--')}-not-fetched"

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

    def start_once(self) -> str:
        """Begin, unless that has failed on this machine before; a sentence about it."""
        by_hand = f"`patchwright models get {self._name}` fetches it, or the page's sidebar"
        if self._failed_before.exists():
            return f"'{self._name}' could not be fetched before, and is not tried again: {by_hand}."
        self._only_once = True
        self.start()
        return (
            f"'{self._name}' is fetched in the background, and the page offers it when it is here "
            "(`--model demo` leaves it out)."
        )

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def _fetch(self) -> None:
        try:
            get(self._name, self._note)
            self._failed_before.unlink(missing_ok=True)
        except PatchwrightError as error:
            self._failed(error)
        except BaseException:  # as in `jobs`
            logging.getLogger(__name__).exception("A download failed")
            self._failed(
                PatchwrightError(
                    f"The download of '{self._name}' failed in a way that should not happen: try "
                    "again. The server's log has the details."
                )
            )

    def _failed(self, error: PatchwrightError) -> None:
        self.error = error
        if self._only_once:
            print(error, flush=True)
            with suppress(OSError):
                home().mkdir(mode=0o700, parents=True, exist_ok=True)  # as the run store makes it
                self._failed_before.parent.mkdir(exist_ok=True)
                self._failed_before.touch()

    def _note(self, done: int, total: int) -> bool:
        self.bytes = (done, total)
        return not self._stop.is_set()
