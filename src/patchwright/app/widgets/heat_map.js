// A heat map on a canvas: hover for a cell's value, click or arrow keys and Enter to select.
// Cells that hold an estimate are paler and hatched; empty ones are hatched only, with a dash
// where there is nothing to compute. An open circle: over pairs it does not differ from zero.
// All labels are drawn as text or set as textContent, so prompts stay data.

const BLUE = [33, 102, 172], WHITE = [247, 247, 247], RED = [178, 24, 43];
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

const mix = (a, b, t) => a.map((c, i) => Math.round(c + (b[i] - c) * t));
const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;

function color(value, d) {
  if (d.centred) {
    const t = Math.max(-1, Math.min(1, value / d.limit));
    return t < 0 ? mix(WHITE, BLUE, -t) : mix(WHITE, RED, t);
  }
  const t = Math.max(0, Math.min(1, (value - d.low) / (d.high - d.low || 1))) * 4;
  const i = Math.min(3, Math.floor(t));
  return mix(VIRIDIS[i], VIRIDIS[i + 1], t - i);
}

// Two digits, and no minus sign before nothing.
const short = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace(/^-(0\.0+)$/, "$1");

const isDark = (c) => 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] < 140;

function layout(width, d, context) {
  const rows = d.rows.length, columns = d.columns.length;
  context.font = "12px sans-serif";
  const widest = (labels) => Math.max(0, ...labels.map((l) => context.measureText(l).width));
  const left = Math.min(120, widest(d.rowsShort ?? d.rows) + 34);
  const wide = Math.min(64, Math.max(0.2, (width - left - 14) / columns));
  const fits = Math.max(5, Math.floor(460 / rows));
  const tall = Math.min(28, fits, rows === columns ? Math.max(6, wide) : 28);
  // Labels lie flat where they fit over their column, else they lean.
  const flat = d.columnsShort !== undefined || widest(d.columns) <= wide - 2;
  const bottom = flat ? 44 : Math.min(120, widest(d.columnsShort ?? d.columns) * 0.75 + 34);
  return { rows, columns, left, top: 8, wide, tall, flat, bottom, height: 8 + tall * rows + bottom };
}

function hatch(context, ink) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.strokeStyle = ink;
  pen.globalAlpha = 0.35;
  pen.beginPath();
  pen.moveTo(0, 6);
  pen.lineTo(6, 0);
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

function draw(canvas, d, state) {
  const width = canvas.parentElement.clientWidth || 600;
  const context = canvas.getContext("2d");
  const at = layout(width, d, context);
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = at.height * scale;
  canvas.style.height = `${at.height}px`;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const ink = getComputedStyle(canvas).color;
  const empty = hatch(context, ink);
  const box = (row, column) => [
    at.left + column * at.wide, at.top + (at.rows - 1 - row) * at.tall, at.wide, at.tall,
  ];
  const gap = at.wide > 6 ? 1 : 0;
  context.textBaseline = "middle";
  d.values.forEach((values, row) => values.forEach((value, column) => {
    const [x, y, w, h] = box(row, column);
    const guess = value !== null && d.estimated !== null && d.estimated[row][column];
    let fill = value === null ? null : color(value, d);
    if (guess) fill = mix(fill, WHITE, 0.45);
    context.fillStyle = fill === null ? empty : css(fill);
    context.fillRect(x, y, w - gap, h - (at.tall > 6 ? 1 : 0));
    if (guess) {
      context.fillStyle = empty;
      context.fillRect(x, y, w - gap, h - (at.tall > 6 ? 1 : 0));
    }
    if (d.nothing[d.places[row][column]] !== undefined && w >= 12 && h >= 12) {
      context.fillStyle = ink;
      context.font = "12px sans-serif";
      context.textAlign = "center";
      context.fillText("–", x + w / 2, y + h / 2);
    }
    const unsure = fill !== null && d.unsure !== null && d.unsure[row][column];
    if (unsure) {
      // Beside the number where there is room for it.
      context.strokeStyle = isDark(fill) ? "#fff" : "#111";
      context.beginPath();
      const both = w >= 27 && h >= 16;
      context.arc(both ? x + w - 6 : x + w / 2, both ? y + 6 : y + h / 2, Math.max(1, Math.min(3, w / 3)), 0, 7);
      context.stroke();
    }
    if (fill !== null && w >= 27 && h >= 16) {
      context.fillStyle = isDark(fill) ? "#fff" : "#111";
      context.font = `${w < 32 ? 10 : 11}px sans-serif`;
      context.textAlign = "center";
      const text = d.texts === null ? short(value) : fitted(context, d.texts[row][column], w - 4);
      context.fillText(text, x + w / 2, y + h / 2);
    }
  }));
  labels(context, d, at, ink);
  outline(context, d, at, box, state, ink);
  return at;
}

// As much of a word as a cell is wide.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let cut = text.length;
  while (cut > 1 && context.measureText(text.slice(0, cut) + "…").width > width) cut--;
  return text.slice(0, cut) + "…";
}

function labels(context, d, at, ink) {
  context.fillStyle = ink;
  context.font = "12px sans-serif";
  context.textAlign = "right";
  const step = Math.max(1, Math.ceil(14 / at.tall));
  (d.rowsShort ?? d.rows).forEach((label, row) => {
    if (row % step === 0) {
      context.fillText(label, at.left - 6, at.top + (at.rows - row - 0.5) * at.tall);
    }
  });
  const every = Math.max(1, Math.ceil((at.flat ? 18 : 13) / at.wide));
  (d.columnsShort ?? d.columns).forEach((label, column) => {
    if (column % every) return;
    context.save();
    const across = at.flat ? 0.5 : 0.6;
    context.translate(at.left + (column + across) * at.wide, at.top + at.rows * at.tall + 10);
    if (at.flat) context.textAlign = "center";
    else context.rotate(-Math.PI / 4);
    // A leaning label ends below its column: the first ones have little room on the left.
    const room = at.flat ? Infinity : (at.left + (column + across) * at.wide - 4) * Math.SQRT2;
    const short = label.length > 16 ? label.slice(0, 15) + "…" : label;
    context.fillText(fitted(context, short, room), 0, 0);
    context.restore();
  });
  context.save();
  context.translate(10, at.top + (at.rows * at.tall) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(d.rowTitle, 0, 0);
  context.restore();
  context.textAlign = "left";
  context.fillText(d.columnTitle, at.left, at.height - 8);
}

function outline(context, d, at, box, state, ink) {
  const find = (place) => {
    for (let row = 0; row < at.rows; row++) {
      const column = d.places[row].indexOf(place);
      if (column >= 0) return [row, column];
    }
    return null;
  };
  // Dark and light together, to be seen on any cell and in both themes.
  const frame = (cell, inset) => {
    if (!cell) return;
    const [x, y, w, h] = box(...cell);
    for (const [color, width] of [["#111", 5], ["#fff", 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.strokeRect(x + 1 + inset, y + 1 + inset, w - 3 - 2 * inset, h - 3 - 2 * inset);
    }
  };
  d.marked.forEach((place) => frame(find(place), 0));
  if (d.marked.length > 0) context.setLineDash([3, 3]);
  frame(find(d.selected), d.marked.includes(d.selected) ? 3 : 0);
  context.setLineDash([]);
  if (state.focused) {
    const [x, y, w, h] = box(state.row, state.column);
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.setLineDash([3, 2]);
    context.strokeRect(x - 1, y - 1, w + 1, h + 1);
    context.setLineDash([]);
  }
}

// Streamlit calls this when the map appears and again whenever its data change: the canvas
// and where the keyboard stands in it stay.
export default function ({ data, parentElement, setTriggerValue }) {
  const canvas = parentElement.querySelector("canvas");
  const tip = parentElement.querySelector(".tip");
  const spoken = parentElement.querySelector(".spoken");
  const state = (canvas.state ??= { row: 0, column: 0, focused: false });
  state.row = Math.min(state.row, data.rows.length - 1);
  state.column = Math.min(state.column, data.columns.length - 1);
  let at = draw(canvas, data, state);
  const redraw = () => { at = draw(canvas, data, state); };
  const say = (row, column) => {
    const value = data.values[row][column];
    const guess = data.estimated !== null && data.estimated[row][column] ? " (estimate)" : "";
    const unsure = data.unsure !== null && data.unsure[row][column] ? " (not told from zero)" : "";
    const word = data.texts === null || value === null ? "" : `top token ${data.texts[row][column]}, `;
    const place = data.places[row][column];
    const empty = data.nothing[place] ?? data.empty;
    const right = data.marked.includes(place) ? ", right" : "";
    const shown = value === null ? empty : `${word}${data.unit} ${value.toFixed(3)}${guess}${unsure}`;
    return `${place} ${data.columns[column]}: ${shown}${right}`;
  };
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - at.left) / at.wide);
    const row = at.rows - 1 - Math.floor((event.clientY - box.top - at.top) / at.tall);
    const inside = row >= 0 && row < at.rows && column >= 0 && column < at.columns;
    return inside ? [row, column] : null;
  };
  const choose = (row, column) => {
    data.selected = data.places[row][column];
    redraw();
    setTriggerValue("place", data.selected);
  };
  canvas.setAttribute("aria-label",
    `Heat map${data.title ? " " + data.title : ""}, ${at.rows} by ${at.columns} cells. ` +
    "Arrow keys move, Enter selects.");
  canvas.onmousemove = (event) => {
    const cell = cellAt(event);
    tip.style.display = cell ? "block" : "none";
    canvas.style.cursor = cell && data.clickable ? "pointer" : "default";
    if (!cell) return;
    tip.textContent = say(...cell);
    const box = parentElement.querySelector(".map").getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${event.clientY - box.top + 16}px`;
  };
  canvas.onmouseleave = () => { tip.style.display = "none"; };
  canvas.onclick = (event) => {
    const cell = cellAt(event);
    if (!cell || !data.clickable) return;
    [state.row, state.column] = cell;
    choose(...cell);
  };
  canvas.onfocus = () => { state.focused = canvas.matches(":focus-visible"); redraw(); };
  canvas.onblur = () => { state.focused = false; redraw(); };
  canvas.onkeydown = (event) => {
    const moves = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key in moves) {
      const [up, right] = moves[event.key];
      state.focused = true;
      state.row = Math.max(0, Math.min(at.rows - 1, state.row + up));
      state.column = Math.max(0, Math.min(at.columns - 1, state.column + right));
      spoken.textContent = say(state.row, state.column);
      redraw();
    } else if ((event.key === "Enter" || event.key === " ") && data.clickable) {
      choose(state.row, state.column);
    } else {
      return;
    }
    event.preventDefault();
  };
  const observer = new ResizeObserver(redraw);
  observer.observe(canvas.parentElement);
  return () => observer.disconnect();
}
