// A heat map as a grid of cells: hover for a cell's value, click or arrow keys and Enter to
// select, with Shift to add to a set. Cells that hold an estimate are paler and hatched; empty
// ones are hatched only. An open circle: over pairs it does not differ from zero. All words are
// set as textContent, so prompts stay data.

function element(kind, className = "", text = "") {
  const made = document.createElement(kind);
  if (className) made.className = className;
  // A number and its percent sign stay in one line.
  if (text) made.textContent = text.replace(/(\d) %/g, "$1\u00a0%");
  return made;
}

const PARTS = 40;

const measured = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function widest(labels) {
  measured.font = "12px sans-serif";
  return Math.max(0, ...labels.map((label) => measured.measureText(label).width));
}

// What decides which cells there are; while it stays, cells are changed and not made again.
const shapeOf = (d) => JSON.stringify([d.rows, d.columns, d.places, d.rowsShort, d.columnsShort]);

class HeatMap {
  constructor(host, act) {
    this.host = host;
    this.act = act;
    this.at = [0, 0];
    this.crossed = [];
    this.threshold = 0;
    this.say = () => {};
    this.slid = (share) => this.hideBelow(share);
    this.caption = host.appendChild(element("div", "caption"));
    this.frame = host.appendChild(element("div", "frame"));
    this.title = this.frame.appendChild(element("div", "row-title"));
    this.grid = this.frame.appendChild(element("div", "grid"));
    this.grid.setAttribute("role", "grid");
    this.foot = this.frame.appendChild(element("div", "foot"));
    this.bar = this.frame.appendChild(element("div", "bar"));
    this.tip = host.appendChild(element("div", "tip"));
    this.tip.setAttribute("aria-hidden", "true");
    this.grid.onpointermove = (event) => this.hover(event);
    this.grid.onpointerenter = () => this.rethink();
    this.grid.onpointerleave = () => this.unhover();
    this.grid.onclick = (event) => this.click(event);
    this.grid.onkeydown = (event) => this.press(event);
    this.grid.onfocus = () => this.focus();
    this.watch = new ResizeObserver(() => this.arrange());
    this.watch.observe(host);
  }

  show(data) {
    const shape = shapeOf(data);
    const again = this.shape === shape;
    if (!again) this.threshold = data.threshold;
    // What the server says of an earlier click does not take the latest one back.
    if (again && this.awaited && this.awaited.until > Date.now() && data.selected !== this.awaited.place) {
      data.selected = this.awaited.place;
    } else {
      this.awaited = null;
    }
    this.data = data;
    this.shape = shape;
    if (!again) this.make();
    this.caption.textContent = data.caption;
    this.grid.setAttribute("aria-label",
      `Heat map${data.title ? " " + data.title : ""}, ${data.rows.length} by ${data.columns.length} cells. ` +
      "Arrow keys move, Enter selects.");
    this.arrange();
    this.scale();
  }

  make() {
    const d = this.data, top = d.rows.length - 1;
    this.at = [Math.min(this.at[0], top), Math.min(this.at[1], d.columns.length - 1)];
    this.cells = d.rows.map(() => []);
    this.heads = [];
    this.names = [];
    this.crossed = [];
    this.index = new Map();
    const rows = [];
    for (let row = top; row >= 0; row--) {
      const line = element("div", "line");
      line.setAttribute("role", "row");
      const name = line.appendChild(element("div", "name", (d.rowsShort ?? d.rows)[row]));
      name.setAttribute("role", "rowheader");
      this.names[row] = name;
      d.columns.forEach((_, column) => {
        const cell = line.appendChild(element("div", "cell"));
        cell.setAttribute("role", "gridcell");
        cell.dataset.place = d.places[row][column];
        cell.dataset.at = `${row} ${column}`;
        cell.tabIndex = -1;
        this.cells[row][column] = cell;
        this.index.set(d.places[row][column], [row, column]);
      });
      rows.push(line);
    }
    const last = element("div", "line");
    last.setAttribute("role", "row");
    last.appendChild(element("div", "corner")).setAttribute("role", "presentation");
    (d.columnsShort ?? d.columns).forEach((label, column) => {
      const head = last.appendChild(element("div", "head"));
      head.setAttribute("role", "columnheader");
      head.setAttribute("aria-label", label);
      head.appendChild(element("span", "", label));
      this.heads[column] = head;
    });
    this.grid.replaceChildren(...rows, last);
    this.title.textContent = d.rowTitle;
    this.foot.textContent = d.placed ? "" : d.columnTitle;
  }

  // Sizes and labels, which follow the window; then what stands in the cells.
  arrange() {
    const d = this.data;
    if (!d || !this.host.clientWidth) return;
    const rows = d.rows.length, columns = d.columns.length;
    const left = Math.min(110, widest(d.rowsShort ?? d.rows) + 8);
    const width = Math.min(140, (this.host.clientWidth - left - 24) / columns);
    const alone = Number(this.style("--row-most"));  // on the projector, where nothing else is shown
    const height = heightOf(rows, columns, width, alone ? d.room : roomIn(window.innerHeight, d.room), alone || 30);
    const labels = d.columnsShort ?? d.columns;
    const flat = widest(labels) <= width - 2;
    const lean = flat ? 20 : Math.min(96, widest(labels) * 0.72 + 14);
    this.size = [width, height];
    this.grid.style.gridTemplateColumns = `${left}px repeat(${columns}, minmax(0, ${width}px))`;
    // A label that is higher than its row would part it from the next one.
    this.grid.style.gridTemplateRows = `repeat(${rows}, ${height}px) auto`;
    this.grid.style.setProperty("--tall", `${height}px`);
    this.grid.style.setProperty("--gap", width > 6 && height > 6 ? "1px" : "0px");
    this.grid.style.setProperty("--lean", `${lean}px`);
    this.grid.classList.toggle("flat", flat);
    const each = Math.max(1, Math.ceil((flat ? 18 : 16) / width));
    this.heads.forEach((head, column) => {
      const room = (left + (column + 0.6) * width) * Math.SQRT2;
      head.firstChild.style.maxWidth = flat ? "none" : `${Math.min(room, lean * Math.SQRT2)}px`;
      head.firstChild.style.visibility = column % each ? "hidden" : "visible";
    });
    this.label(height);
    this.fill();
  }

  // A map of heads names a layer where it begins and draws a line there; others every few rows.
  label(height) {
    const d = this.data, every = everyRow(height);
    this.names.forEach((name, row) => {
      const label = (d.rowsShort ?? d.rows)[row];
      if (d.bands === null) {
        name.textContent = row % every ? "" : label;
        return;
      }
      const begins = row === 0 || d.bands[row] !== d.bands[row - 1];
      name.textContent = height >= 13 ? label : begins ? d.bands[row] : "";
      name.parentElement.classList.toggle("begins", begins && row > 0);
    });
  }

  fill() {
    const d = this.data;
    this.neutral = this.themed();
    this.looks = { marked: new Set(d.marked), inSet: new Set(d.set), asked: d.asked && new Set(d.asked) };
    d.values.forEach((values, row) => values.forEach((_, column) => this.fillCell(row, column)));
    this.grid.style.setProperty("--size", `${this.size[0] < 34 ? 10 : 11}px`);
    this.grid.classList.toggle("clickable", d.clickable);
    this.grid.classList.toggle("answered", d.marked.length > 0);
    this.reach();
  }

  fillCell(row, column) {
    const d = this.data, [width, height] = this.size, { marked, inSet, asked } = this.looks;
    const cell = this.cells[row][column], place = d.places[row][column], value = d.values[row][column];
    const guess = value !== null && d.estimated !== null && d.estimated[row][column];
    const unsure = value !== null && d.unsure !== null && d.unsure[row][column] && height >= 10;
    const small = value === null || isSmall(value, d, this.threshold);
    const full = small ? this.neutral : paint(value, d, this.neutral);
    const color = guess ? mix(this.neutral, full, 0.55) : full;
    const bounds = d.bounds?.[row][column];
    const ranged = bounds && value !== null && !small && width >= 22 && height >= 14;
    if (ranged) {
      const [from, wide] = whisker(bounds, d, width);
      cell.style.setProperty("--from", `${from}px`);
      cell.style.setProperty("--wide", `${wide}px`);
    }
    cell.className = ["cell", ranged && "ranged", value === null && "empty", guess && "guess", unsure && "unsure", small && "small",
      marked.has(place) && "marked", inSet.has(place) && "in-set", place === d.pinned && "pinned",
      asked && !asked.has(place) && "not-asked",
      place === d.selected && "selected"].filter(Boolean).join(" ");
    cell.style.setProperty("--value", css(color));
    cell.style.color = value === null ? "" : inkOn(color);
    const text = textOf(value, d, row, column, this.threshold, width, height);
    if (cell.textContent !== text) cell.textContent = text;
    cell.setAttribute("aria-label", spoken(d, row, column));
    cell.setAttribute("aria-selected", String(place === d.selected));
  }

  style(name) {
    return getComputedStyle(this.host).getPropertyValue(name).trim();
  }

  // The neutral colour of the theme, as it is now.
  themed() {
    measured.fillStyle = this.style("--neutral") || "#f7f7f7";
    measured.fillRect(0, 0, 1, 1);
    return [...measured.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }

  // One cell alone is in the order of Tab: where the keyboard was last, else the selected one.
  reach() {
    const d = this.data;
    if (this.reached) this.reached.tabIndex = -1;
    if (!this.moved && d.clickable) this.at = this.index.get(d.selected) ?? this.at;
    this.reached = this.cells[this.at[0]][this.at[1]];
    this.reached.tabIndex = 0;
  }

  // The colour bar: what colours stand for, and from where on cells have one.
  scale() {
    const d = this.data, steps = 24, stops = [];
    if (!d.scaled) return this.bar.replaceChildren();
    const [low, high] = ends(d);
    for (let i = 0; i <= steps; i++) stops.push(css(paint(low + ((high - low) * i) / steps, d, this.neutral)));
    const legend = element("span", "colours");
    const strip = element("span", "strip");
    strip.style.background = `linear-gradient(to right, ${stops.join(",")})`;
    if (d.texts === null) legend.append(this.spread(low, high));
    legend.append(strip);
    const parts = [element("span", "end", short(low)), legend, element("span", "end", short(high)),
      element("span", "unit", d.legend || d.unit)];
    if (d.centred && d.sliding) parts.push(this.slider());
    this.bar.replaceChildren(...parts);
  }

  // How the values of all cells are spread over the scale. A few cells among thousands can be seen:
  // a column is as high as the root of its count.
  spread(low, high) {
    const d = this.data, counts = spreadOver(d.pooled, d, PARTS), most = Math.sqrt(Math.max(1, ...counts));
    const spread = element("span", "spread"), step = (high - low) / PARTS;
    counts.forEach((count, i) => {
      const column = spread.appendChild(element("span"));
      column.style.height = `${(100 * Math.sqrt(count)) / most}%`;
      const [from, to] = [low + i * step, low + (i + 1) * step];
      column.title = `${count} cell${count === 1 ? "" : "s"} between ${short(from)} and ${short(to)}`;
    });
    spread.setAttribute("role", "img");
    spread.setAttribute("aria-label", `How the values of ${counts.reduce((a, b) => a + b)} cells are spread, ` +
      `from ${short(low)} to ${short(high)}`);
    return spread;
  }

  slider() {
    const label = element("label", "threshold", "hide below ");
    const input = label.appendChild(element("input"));
    const shown = label.appendChild(element("output"));
    Object.assign(input, { type: "range", min: 0, max: 0.5, step: 0.01 });
    input.value = this.threshold;
    input.setAttribute("aria-label", "Hide cells below this share of the scale");
    const say = () => { shown.textContent = short(this.threshold * this.data.limit); };
    say();
    input.oninput = () => {
      this.slid(Number(input.value));
      say();
    };
    input.onchange = () => this.act("threshold", this.threshold);
    return label;
  }

  hideBelow(share) {
    this.threshold = share;
    this.fill();
  }

  cellOf(event) {
    const cell = event.target.closest?.("[data-at]");
    return cell ? cell.dataset.at.split(" ").map(Number) : null;
  }

  hover(event) {
    const at = this.cellOf(event);
    this.unhover();
    if (!at) return;
    const [row, column] = at;
    this.crossed = [this.names[row], this.heads[column]];
    this.crossed.forEach((one) => one.classList.add("crossed"));
    this.tip.replaceChildren(element("div", "", spoken(this.data, row, column, 3)));
    const tokens = likeliest(this.data, row, column);
    if (tokens) this.tip.appendChild(element("div", "next", `next: ${tokens}`));
    this.tip.style.display = "block";
    const box = this.host.getBoundingClientRect(), zoom = this.host.currentCSSZoom ?? 1;
    const left = Math.min((event.clientX - box.left) / zoom + 14, box.width / zoom - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${(event.clientY - box.top) / zoom + 16}px`;
  }

  unhover() {
    this.tip.style.display = "none";
    this.crossed.forEach((one) => one.classList.remove("crossed"));
    this.crossed = [];
  }

  // The theme may have changed since the cells were drawn.
  rethink() {
    if (String(this.themed()) === String(this.neutral)) return;
    this.fill();
    this.scale();
  }

  click(event) {
    const at = this.cellOf(event);
    if (at) this.choose(at, meaning({ shiftKey: event.shiftKey }));
  }

  // The browser shows the selection at once; the server follows.
  choose(at, what) {
    const d = this.data;
    if (!d.clickable) return;
    this.at = at;
    this.moved = true;
    const place = d.places[at[0]][at[1]];
    if (d.asked && !d.asked.includes(place)) return this.say("This cell is not asked for.");
    if (what === "place") {
      this.select(place);
    } else {
      d.set = [...d.set, place];
      this.fill();
    }
    this.act(what, place);
  }

  select(place) {
    const before = this.data.selected;
    this.data.selected = place;
    this.awaited = { place, until: Date.now() + 1500 };
    for (const one of [before, place]) {
      if (this.index.has(one)) this.fillCell(...this.index.get(one));
    }
    this.reach();
  }

  remove() {
    this.watch.disconnect();
    this.host.remove();
  }

  press(event) {
    const d = this.data, to = moved(event, this.at, d.rows.length, d.columns.length);
    if (to) {
      this.at = to;
      this.moved = true;
      this.reach();
      this.cells[to[0]][to[1]].focus();
      this.say(spoken(d, ...to));
    } else if (meaning(event) && d.clickable) {
      this.choose(this.at, meaning(event));
    } else {
      return;
    }
    event.preventDefault();
  }

  focus() {
    this.cells[this.at[0]][this.at[1]].focus();
  }

  // What is known of a place, in words; nothing where the map does not have it.
  sayPlace(place) {
    return this.index.has(place) ? spoken(this.data, ...this.index.get(place), 3) : "";
  }
}
