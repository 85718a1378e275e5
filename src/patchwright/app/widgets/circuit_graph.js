// A circuit as a graph: hover lights the edges of a node, click or arrow keys and Enter select, the
// slider prunes. Names come from the model alone, and are set as textContent.

const SVG = "http://www.w3.org/2000/svg";
function drawn(kind, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, kind);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  if (text) made.textContent = text;
  return made;
}

// For so many milliseconds an act is not taken back by an answer to an earlier one.
const PATIENCE = 10_000;
const TALLEST_ROW = 46, LOWEST_ROW = 15, WIDEST_UNIT = 74, MOST_LABELS = 8;

class CircuitGraph {
  constructor(host, act) {
    this.host = host;
    this.act = act;
    this.say = () => {};
    this.asked = {};
    this.frame = host.appendChild(drawn("svg", { class: "graph", role: "listbox" }));
    this.waiting = host.appendChild(element("p", "waiting"));
    this.foot = host.appendChild(element("div", "bar graph-foot"));
    this.tip = host.appendChild(element("div", "tip"));
    this.tip.setAttribute("aria-hidden", "true");
    this.frame.onpointermove = (event) => this.hover(event);
    this.frame.onpointerleave = () => this.light(null);
    this.frame.onclick = (event) => this.click(event);
    this.frame.onkeydown = (event) => this.press(event);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(host);
  }

  remove() {
    this.watch.disconnect();
    this.host.remove();
  }

  show(data) {
    if (this.awaits("selected", data)) data.selected = this.asked.selected.value;
    const pruning = this.awaits("size", data), { selected, ...shape } = data;
    const text = JSON.stringify(shape), again = this.shape === text && (pruning || this.size === data.size);
    this.data = data;
    this.shape = text;
    if (!pruning) this.size = data.size;
    this.frame.classList.toggle("coming", pruning);
    this.waiting.textContent = data.waiting;
    this.frame.style.display = data.waiting ? "none" : "block";
    this.foot.hidden = Boolean(data.waiting);
    this.frame.setAttribute("aria-label",
      `Graph of the circuit's ${counted(data.size, "edge")}. Arrow keys move, Enter selects.`);
    if (data.waiting) return;
    if (!again) this.explain();
    if (!again) this.draw();
    else this.mark();
  }

  // Whether the server has yet to answer the latest act: what it says of an earlier one does not take that back.
  awaits(what, data) {
    const asked = this.asked[what];
    if (asked && data[what] !== asked.value && Date.now() < asked.until) return true;
    delete this.asked[what];
    return false;
  }

  // Everything, as large as there is room.
  draw() {
    const d = this.data, width = this.host.clientWidth;
    if (!d || d.waiting || !width) return;
    const { layout, ranks } = keptOf(d, this.size);
    const left = width < 500 ? 22 : 52, rows = layout.layers.length;
    const row = Math.max(LOWEST_ROW, Math.min(TALLEST_ROW, d.room / rows));
    const unit = Math.min(WIDEST_UNIT, (width - left - 8) / layout.width);
    const start = left + (width - left - layout.width * unit) / 2;
    const height = row * rows + 4;
    this.point = ([across, up]) => [start + across * unit, height - 2 - row * (up + 0.5)];
    this.box = [Math.min(66, unit * 0.94), Math.min(21, row * 0.8)];
    this.ranks = ranks;
    this.slider.drawn.textContent = drawnOf(ranks, this.size);
    this.layout = layout;
    Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height })
      .forEach(([name, value]) => this.frame.setAttribute(name, value));
    this.frame.replaceChildren(this.bands(width, height, row, left), this.lines(), this.nodes(), drawn("g", { class: "labels" }));
    this.mark();
  }

  // A strip for each layer, with its number.
  bands(width, height, row, left) {
    const found = drawn("g", { "aria-hidden": "true" }), { layers } = this.layout;
    layers.forEach((layer, first) => {
      if (layer === null || layers[first - 1] === layer) return;
      const count = layers.filter((one) => one === layer).length;
      const y = height - 2 - row * (first + count);
      found.append(
        drawn("rect", { class: layer % 2 ? "band odd" : "band", x: 0, y, width, height: row * count }),
        drawn("text", { class: "layer", x: 2, y: y + (row * count) / 2 }, left < 50 ? layer : `layer ${layer}`),
      );
    });
    return found;
  }

  lines() {
    const d = this.data, group = drawn("g", { "aria-hidden": "true" });
    this.paths = new Map();
    const kept = new Set(this.ranks);
    this.layout.ranks.forEach((rank, i) => {
      if (!kept.has(rank)) return;
      const { id, score, input } = d.edges[rank];
      const points = this.layout.lanes[i].map(this.point), last = points.length - 1;
      points[0][1] -= this.box[1] / 2;
      // The queries, keys and values of a head come in beside one another.
      points[last][0] += ({ q: -0.3, v: 0.3 }[input] ?? 0) * this.box[0];
      points[last][1] += this.box[1] / 2;
      const at = { d: pathOf(points), "data-edge": id };
      const line = drawn("path", { ...at, class: score < 0 ? "edge" : "edge raises", "stroke-width": widthOf(score, d.limit) });
      group.append(drawn("path", { ...at, class: "reach" }), line);
      this.paths.set(rank, { line, points });
    });
    return group;
  }

  nodes() {
    const d = this.data, kept = nodesOf(d, this.ranks), group = drawn("g");
    const [width, height] = this.box;
    this.at = Object.fromEntries(Object.entries(this.layout.at).filter(([name]) => kept.has(name)));
    this.spots = new Map();
    for (const [name, place] of Object.entries(this.at)) {
      const [x, y] = this.point(place);
      const node = group.appendChild(drawn("g", { class: "node", role: "option", "data-node": name,
        "aria-label": nodeInWords(d, this.ranks, name), transform: `translate(${x} ${y})`, tabindex: -1 }));
      const label = d.labels[name], size = widest([label]) + 4 <= width ? 12 : 10;
      const fits = (widest([label]) * size) / 12 + 4 <= width;
      node.append(
        drawn("rect", { x: -width / 2, y: -height / 2, width, height, rx: 5 }),
        drawn("text", { "font-size": Math.min(size, height * 0.75) }, fits ? label : shortLabel(label)),
      );
      this.spots.set(name, node);
    }
    return group;
  }

  // What is selected, and which node the keyboard reaches.
  mark() {
    if (!this.at) return;
    const { selected } = this.data;
    this.spots.forEach((node, name) => {
      node.classList.toggle("selected", name === selected);
      node.setAttribute("aria-selected", String(name === selected));
    });
    if (!this.at[this.focused]) this.focused = this.at[selected] ? selected : Object.keys(this.at)[0];
    this.spots.forEach((node, name) => node.setAttribute("tabindex", name === this.focused ? 0 : -1));
    this.light(null);
  }

  // Light a node's edges, or one edge; without any those of what is selected, the others as they are.
  light(id) {
    const d = this.data, shown = id ?? d.selected, lit = new Set(edgesOf(d, this.ranks ?? [], shown));
    this.frame.classList.toggle("lit", id !== null && lit.size > 0);
    const ends = nodesOf(d, [...lit]).add(shown);
    this.paths?.forEach(({ line }, rank) => line.classList.toggle("on", lit.has(rank)));
    this.spots?.forEach((node, name) => node.classList.toggle("on", ends.has(name)));
    this.label(shown, [...lit]);
    if (id === null) this.tip.style.display = "none";
  }

  // The scores of lit edges, each at the end that is not the node's own.
  label(shown, ranks) {
    const d = this.data, some = ranks.sort((a, b) => Math.abs(d.edges[b].score) - Math.abs(d.edges[a].score));
    this.frame.querySelector(".labels")?.replaceChildren(...some.slice(0, MOST_LABELS).map((rank) => {
      const { points } = this.paths.get(rank), { target, part, score } = d.edges[rank];
      const [one, other] = target === shown ? points : [points.at(-1), points.at(-2)];
      const share = target === shown ? 0.4 : 0.5;
      return drawn("text", { class: "score", x: one[0] + share * (other[0] - one[0]), y: one[1] + share * (other[1] - one[1]) },
        `${part} ${signed(score)}`.trim());
    }));
  }

  idOf(event) {
    const found = event.target.closest?.("[data-node], [data-edge]");
    return found ? found.dataset.node ?? found.dataset.edge : null;
  }

  hover(event) {
    const id = this.idOf(event);
    this.light(id);
    if (!id) return;
    this.tip.textContent = `${inWords(this.data, this.ranks, id)} (${id})`;
    this.tip.style.display = "block";
    const box = this.host.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${event.clientY - box.top + 16}px`;
  }

  click(event) {
    const id = this.idOf(event);
    if (id) this.act("place", id);
  }

  // The browser shows the selection at once; the server follows.
  select(id) {
    this.data.selected = id;
    this.asked.selected = { value: id, until: Date.now() + PATIENCE };
    this.focused = id;
    this.mark();
  }

  press(event) {
    if (event.key === "Enter" || event.key === " ") {
      this.act("place", this.focused);
    } else if (event.key.startsWith("Arrow")) {
      this.focused = nodeBeside(event.key, this.at, this.focused);
      this.mark();
      this.light(this.focused);
      this.spots.get(this.focused).focus();
      this.say(nodeInWords(this.data, this.ranks, this.focused));
    } else {
      return;
    }
    event.preventDefault();
  }

  sayPlace(id) {
    return inWords(this.data, this.ranks ?? [], id);
  }

  // What lines mean, and how many edges are kept. The slider stays the same one: it may have the focus.
  explain() {
    this.slider ??= this.makeSlider();
    const lines = this.data.legend.map(([words, raises]) => {
      const one = element("span", "line-of");
      const line = one.appendChild(drawn("svg", { width: 26, height: 8, "aria-hidden": "true" }));
      line.append(drawn("path", { d: "M0 4H26", class: raises ? "edge raises on" : "edge on", "stroke-width": 3 }));
      one.append(words);
      return one;
    });
    this.foot.querySelectorAll(".line-of").forEach((one) => one.remove());
    this.foot.prepend(...lines);
    this.slider.number.max = this.data.most;
    this.keep(this.size);
  }

  makeSlider() {
    const label = this.foot.appendChild(element("label", "threshold", "edges kept "));
    const range = label.appendChild(element("input")), number = label.appendChild(element("input", "count"));
    Object.assign(range, { type: "range", min: 0, max: 1, step: 0.005 });
    Object.assign(number, { type: "number", min: 1, step: 1 });
    range.setAttribute("aria-label", "Edges kept, on a logarithmic scale");
    number.setAttribute("aria-label", "Edges kept");
    const most = () => this.data.most;
    const typed = () => Math.max(1, Math.min(most(), Math.round(Number(number.value)) || 1));
    range.oninput = () => this.prune(sizeAt(Number(range.value), most()), range);
    number.oninput = () => this.prune(typed(), number);
    range.onchange = () => this.commit();
    number.onchange = () => {
      this.prune(typed());
      this.commit();
    };
    return { range, number, drawn: label.appendChild(element("output")) };
  }

  // Say in both fields, but the one that is being used, how many edges are kept.
  keep(size, used) {
    const { range, number } = this.slider;
    if (used !== range) range.value = shareAt(size, this.data.most);
    if (used !== number) number.value = size;
    range.setAttribute("aria-valuetext", counted(size, "edge"));
    this.size = size;
  }

  // The graph follows at once; the server is asked when the slider is let go.
  prune(size, used) {
    this.asked.size = { value: size, until: Infinity };
    this.keep(size, used);
    this.draw();
  }

  commit() {
    if (this.size === this.data.size) return;
    this.asked.size = { value: this.size, until: Date.now() + PATIENCE };
    this.frame.classList.add("coming");
    this.act("edges", this.size);
  }
}
