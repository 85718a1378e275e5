// The palette of commands: Ctrl-K opens it from anywhere on the page, and ? the list of keys. What
// was typed is matched in the browser; the server does what is chosen. All words are textContent.

// The commands in which every typed word occurs; those that begin with what was typed come first.
function matching(commands, typed) {
  const said = typed.trim().toLowerCase(), words = said.split(/\s+/);
  const fits = commands.filter(({ group, label, words: more }) => {
    const all = `${group} ${label} ${more}`.toLowerCase();
    return words.every((word) => all.includes(word));
  });
  const first = ({ label, words: more }) => [label, ...more.split(" ")].some((one) => one.toLowerCase().startsWith(said));
  return said ? [...fits.filter(first), ...fits.filter((one) => !first(one))] : fits;
}

// What has a number in it may name a place, which is then offered besides.
const maybePlace = (typed) => (/\d/.test(typed) ? [{ id: `place ${typed.trim()}`, group: "Place", label: typed.trim() }] : []);

// Whether a person is typing into a field, where keys are letters.
function isTyping(event) {
  const into = event.composedPath()[0];
  return into instanceof Element && into.matches("input, textarea, select, [contenteditable]");
}

class Palette {
  constructor(root) {
    const find = (name) => root.querySelector(`.${name}`);
    this.dialog = root.querySelector("dialog");
    this.input = root.querySelector("input");
    this.list = find("commands");
    this.keys = find("keys");
    this.at = 0;
    find("opener").onclick = () => this.open("");
    this.input.oninput = () => { this.at = 0; this.fill(); };
    this.input.onkeydown = (event) => this.press(event);
    this.dialog.onclick = (event) => { if (event.target === this.dialog) this.dialog.close(); };
  }

  open(keys) {
    this.keys.hidden = !keys;
    this.input.value = "";
    this.at = 0;
    this.fill();
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
  }

  fill() {
    this.found = [...maybePlace(this.input.value), ...matching(this.commands, this.input.value)];
    this.list.replaceChildren(...this.found.map((one, i) => {
      const line = document.createElement("li");
      line.id = `command-${i}`;
      line.setAttribute("role", "option");
      const group = line.appendChild(document.createElement("span"));
      group.className = "group";
      group.textContent = one.group;
      line.append(one.label);
      line.onclick = () => this.choose(i);
      return line;
    }));
    if (this.found.length === 0) {
      this.list.replaceChildren(Object.assign(document.createElement("li"), { textContent: "No command has all these words." }));
    }
    this.mark();
  }

  mark() {
    [...this.list.children].forEach((line, i) => line.setAttribute("aria-selected", String(i === this.at)));
    const line = this.found.length ? this.list.children[this.at] : null;
    this.input.setAttribute("aria-activedescendant", line?.id ?? "");
    line?.scrollIntoView({ block: "nearest" });
  }

  press(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.found.length) {
      this.at = (this.at + step + this.found.length) % this.found.length;
      this.mark();
    } else if (event.key === "Enter") {
      this.choose(this.at);
    } else {
      return;
    }
    event.preventDefault();
  }

  choose(at) {
    if (!this.found[at]) return;
    this.dialog.close();
    this.act(this.found[at].id);
  }
}

// Streamlit calls this when the palette appears and again whenever its commands change.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".palette");
  const palette = (root.palette ??= new Palette(root));
  palette.commands = data.commands;
  palette.act = (id) => setTriggerValue("act", id);
  const pressed = (event) => {
    const asked = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k";
    if (!asked && (event.key !== "?" || isTyping(event))) return;
    event.preventDefault();
    palette.open(!asked);
  };
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}
