// The workbench: a map beside what is known of its selected cell, and below them the set of
// places that are patched together. Where the page gives no room for these, a map alone.

// A line from one run to the other with a dot where the patched run stands.
function ruler({ low, high, value, mark, from, to, said }) {
  const line = element("div", "ruler");
  line.setAttribute("role", "img");
  line.setAttribute("aria-label", said);
  line.append(element("span", "end", from));
  const track = line.appendChild(element("span", "track"));
  const stand = (at, kind) => {
    const dot = track.appendChild(element("span", kind));
    const share = (at - low) / (high - low);
    dot.style.left = `${100 * Math.max(0, Math.min(1, share))}%`;
    dot.classList.toggle("outside", share < 0 || share > 1);
    return dot;
  };
  if (mark !== undefined) stand(mark, "dot of-pin").title = "The pinned place";
  stand(value, "dot");
  line.append(element("span", "end", to));
  return line;
}

function button(key, label, act, { disabled = false, title = "" } = {}) {
  const made = element("button", "", label);
  Object.assign(made, { type: "button", disabled, title, onclick: act });
  made.dataset.key = key;
  return made;
}

function predictions(runs) {
  const table = element("div", "runs");
  runs.forEach(({ name, tokens, strong }) => {
    const run = table.appendChild(element("div", strong ? "run strong" : "run"));
    run.appendChild(element("div", "run-name", name));
    tokens.forEach(([token, share]) => {
      const line = run.appendChild(element("div", "token"));
      const bar = line.appendChild(element("span", "bar-of"));
      bar.style.width = `${100 * share}%`;
      line.append(element("span", "word", token), element("span", "share", percent(share)));
    });
  });
  return table;
}

// Lists of what the selected place is joined to, each a step to it.
function links(lists, act) {
  const all = element("div", "links");
  lists.forEach(({ title, rows, more }) => {
    const list = all.appendChild(element("div"));
    list.appendChild(element("div", "links-title", title));
    rows.forEach(([place, label, score]) => {
      const link = button(`to ${place}`, "", () => act("place", place));
      link.className = "link";
      link.append(element("span", "word", label), element("span", "share", score));
      list.append(link);
    });
    if (more) list.append(element("div", "run-name", more));
  });
  return all;
}

// Every pair's value as a dot over the mean's interval; dots that would meet stand on one another.
// One of them is in the order of Tab, the arrow keys lead to the others by value.
function dots({ mean, interval, dots: all }, act) {
  const box = element("div", "dots");
  const values = [...all.map(([, value]) => value), mean, ...(interval ?? [])];
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const at = (value) => 2 + (96 * (value - low)) / span;
  const stand = (kind, left, tag = "span") => {
    const made = box.appendChild(element(tag, kind));
    made.style.left = `${left}%`;
    return made;
  };
  if (interval) stand("of-interval", at(interval[0])).style.width = `${at(interval[1]) - at(interval[0])}%`;
  if (low < 0 && low + span > 0) stand("of-zero", at(0));
  stand("of-mean", at(mean)).title = `Mean ${short(mean)}`;
  const ends = [], name = element("span", "end of-name");
  const places = [...all].sort((one, other) => one[1] - other[1]).map(([pair, value, odd, text]) => {
    let row = ends.findIndex((end) => at(value) - end >= 3);
    if (row < 0) row = ends.length < 6 ? ends.length : 5;
    ends[row] = at(value);
    const dot = stand(odd ? "of-pair odd" : "of-pair", at(value), "button");
    const said = `Pair ${pair}: ${value.toFixed(3)}${odd ? ", an outlier" : ""}`;
    dot.style.bottom = `${1 + 10 * row}px`;
    Object.assign(dot, { type: "button", tabIndex: -1, onclick: () => act("pair", pair) });
    Object.assign(dot.dataset, { pair, key: `dot ${pair}` });
    dot.title = `${said}\n${text}\nClick to open it in Explore.`;
    dot.setAttribute("aria-label", `${said}. ${text}`);
    dot.onfocus = () => {
      places.forEach((one) => { one.tabIndex = one === dot ? 0 : -1; });
      name.textContent = said;
    };
    return dot;
  });
  if (places.length) places[0].tabIndex = 0;
  box.onkeydown = (event) => {
    const last = places.length - 1, now = places.findIndex((one) => one.tabIndex === 0);
    const to = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    places[Math.max(0, Math.min(last, to))].focus();
  };
  box.append(element("span", "end", short(low)), name, element("span", "end last", short(low + span)));
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `The values of ${all.length} pairs, from ${short(low)} to ${short(low + span)}, mean ${short(mean)}. `
    + "Arrow keys move from pair to pair, Enter opens one in Explore.");
  return box;
}

// The pairs that stand out, each a way to it.
function outliers(some, act) {
  const list = element("div", "outliers");
  some.forEach(([number, text, why]) => {
    const line = list.appendChild(element("p"));
    line.append(button(`pair ${number}`, `Outlier: pair ${number}`, () => act("pair", number),
      { title: `${text}\nOpens it in Explore.` }), ` ${why}`);
  });
  return list;
}

function inspect(host, d, act) {
  const parts = [];
  const head = element("div", "inspector-head");
  const name = head.appendChild(element("h4"));
  name.appendChild(element("span", "", d.title + " "));
  name.appendChild(element("code", "", d.place));
  const buttons = head.appendChild(element("div", "buttons"));
  if (d.isPinned !== undefined) {
    buttons.append(
      button("pin", d.isPinned ? "Unpin" : "Pin", () => act("pin", d.isPinned ? "-" : d.place),
        { title: "Keep this cell beside the next ones, to compare them." }),
    );
  }
  if (d.add) {
    buttons.append(button("add", d.add, () => act("add", d.place), { disabled: d.inSet, title: d.addHelp }));
  }
  d.closer?.forEach(([to, label]) => buttons.append(button(`zoom ${to}`, label, () => act("zoom", to))));
  parts.push(head);
  if (d.sentence) parts.push(element("p", "sentence", d.sentence));
  if (d.ruler) parts.push(ruler(d.ruler));
  if (d.runs) parts.push(predictions(d.runs));
  if (d.strip) parts.push(dots(d.strip, act));
  if (d.facts.length > 0) {
    const facts = element("dl", "facts");
    d.facts.forEach(([what, said]) => facts.append(element("dt", "", what), element("dd", "", said)));
    parts.push(facts);
  }
  if (d.links) parts.push(links(d.links, act));
  if (d.outliers?.length) parts.push(outliers(d.outliers, act));
  host.replaceChildren(...parts);
}

// What the browser knows of a cell before the server has said more.
function announce(host, place, said) {
  host.querySelector("h4")?.replaceChildren(element("code", "", place));
  host.querySelector(".sentence")?.replaceChildren(said);
  host.classList.add("coming");
}

function gather(host, d, act) {
  host.hidden = d === null;
  if (d === null) return;
  const parts = [element("span", "label", d.places.length ? "Set:" : d.hint)];
  d.places.forEach((place) => {
    const one = element("span", "chip");
    one.append(element("code", "", place),
      button(`drop ${place}`, "×", () => act("drop", place), { title: `Take ${place} out of the set` }));
    one.lastChild.setAttribute("aria-label", `Take ${place} out of the set`);
    parts.push(one);
  });
  if (d.said) parts.push(element("span", "said", d.said));
  if (d.like) {
    const like = button("like", d.like[0], () => act("like", "like"), { title: d.like[1] });
    like.classList.add("like");
    parts.push(like);
  }
  host.replaceChildren(...parts);
}

function report(host, d, act) {
  host.hidden = d === null;
  if (d === null) return;
  if (!host.firstChild) {
    const track = host.appendChild(element("div", "progress"));
    track.setAttribute("role", "progressbar");
    track.appendChild(element("div", "done"));
    const stop = button("stop", "Stop", () => {
      stop.disabled = true; // the server has the work to look after, and may answer late
      act("stop", "stop");
    }, { title: "Keeps what is finished." });
    host.append(element("span", "said"), stop);
  }
  host.querySelector(".done").style.width = `${100 * d.share}%`;
  host.querySelector(".progress").setAttribute("aria-valuenow", Math.round(100 * d.share));
  host.querySelector(".progress").setAttribute("aria-label", d.said);
  host.querySelector(".said").textContent = d.said;
  host.querySelector("button").disabled = !d.stoppable;
}

// Rebuilding a part takes the focus from its button: it goes to the one of the same key.
function keepingFocus(host, build) {
  const key = host.getRootNode().activeElement?.dataset?.key;
  build();
  if (key) host.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

// A button that is replaced while it is pressed is not clicked: what would replace it waits until it
// is let go, and is not needed where the click asked for something newer.
function onceLetGo(root, build) {
  const letGo = () => {
    root.pressed = false;
    // The click itself comes first.
    setTimeout(() => {
      const waiting = root.waiting;
      root.waiting = null;
      if (!root.querySelector(".coming")) waiting?.();
    });
  };
  root.onpointerdown ??= () => {
    root.pressed = true;
    for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, letGo, { once: true });
  };
  if (root.pressed) root.waiting = build;
  else build();
}

// As many maps as there are, one below the other or side by side; what is selected in one is so in all.
function arrangeMaps(bench, host, data, beside) {
  host.classList.toggle("beside", beside);
  const oneBar = data.some((one) => !one.scaled);
  host.classList.toggle("one-bar", oneBar);
  while (bench.maps.length > data.length) bench.maps.pop().remove();
  data.forEach((one, i) => {
    if (!bench.maps[i]) {
      const made = new HeatMap(host.appendChild(element("div", "one-map")), (what, value) => bench.act(what, value));
      made.say = (text) => bench.say(text);
      made.slid = (share) => bench.maps.forEach((map) => map.hideBelow(share));
      bench.maps.push(made);
    }
    // One colour bar stands for all: so does what it says of their values.
    bench.maps[i].show({ ...one, pooled: oneBar ? data.flatMap(({ values }) => values) : one.values });
  });
}

// Instead of maps: a graph.
function arrangeGraph(bench, host, data) {
  if (!bench.maps[0]) {
    const made = new CircuitGraph(host.appendChild(element("div", "one-map")), (what, value) => bench.act(what, value));
    made.say = (text) => bench.say(text);
    bench.maps.push(made);
  }
  bench.maps[0].show(data);
}

// Streamlit calls this when the workbench appears and again whenever its data change.
export default function ({ data: message, parentElement, setTriggerValue }) {
  const data = unpacked(message);
  const root = parentElement.querySelector(".workbench");
  const act = (what, value) => setTriggerValue(what, value);
  const find = (name) => root.querySelector(`.${name}`);
  const inspector = find("inspector"), spokenLine = find("spoken");
  root.dataset.state = data.state;
  const bench = (root.bench ??= { said: "", maps: [] });
  bench.say = (text) => { spokenLine.textContent = text; };
  bench.act = (what, value) => {
    if (what === "place") {
      const said = bench.maps.map((map) => map.sayPlace(value)).filter(Boolean).join("; ");
      if (data.inspector && value !== data.inspector.place) announce(inspector, value, said);
      bench.maps.forEach((map) => map.select(value));
    }
    act(what, value);
  };
  if (data.graph) arrangeGraph(bench, find("map"), data.graph);
  else arrangeMaps(bench, find("map"), data.maps, Boolean(data.beside));
  if (data.inspector) {
    report(find("report"), data.progress, act);
    const said = JSON.stringify([data.inspector, data.set]);
    if (said !== bench.said || inspector.classList.contains("coming")) {
      onceLetGo(root, () => keepingFocus(root, () => {
        inspect(inspector, data.inspector, act);
        gather(find("setbar"), data.set, act);
      }));
    }
    bench.said = said;
    if (data.inspector.place === (data.graph ?? data.maps[0]).selected) inspector.classList.remove("coming");
  }
}
